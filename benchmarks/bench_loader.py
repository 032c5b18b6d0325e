"""Batches of augmented training images (random crop to 224, flip, RandAugment, random erasing) in one process, as the
training loop receives them. *Plain* decodes every image in every epoch and augments it with Pillow, as timm's
`create_transform` does for the published code; both have the same distribution. *Ours* decodes every image in every
epoch, or keeps decoded images in a memory-mapped file (`run.cache_folder`), which the first epoch fills."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from PIL import Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import RandomResizedCropAndInterpolation
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks.frame import Inputs, Row, seconds
from semples.data.augment import RandAugment, apply_two, label_transform
from semples.data.decoded_cache import DecodedFile, decoder
from semples.data.manifest import Manifest
from semples.data.training_images import TrainingBatches, TrainingImages, label_targets
from semples.runtime.seeds import seeded

BATCH, SEED, CALLS = 32, 0, 3
SIZE, CROP, FLIP, RANDAUGMENT, ERASING = 224, (0.08, 1.0), 0.5, 9, 0.25


def rows(inputs: Inputs) -> list[Row]:
    """Measure milliseconds per image of plain and of ours, without and with the file of decoded images."""
    torch.set_num_threads(1)
    images = inputs.images()
    file = DecodedFile(inputs.folder / "decoded", images)
    first, later = (_ours(images, read) for read in (decoder(images, 0, None), file))
    if not all(map(torch.equal, first(), later())):
        raise RuntimeError("the file of decoded images changes a batch")
    plain = _plain(list(images.table["image"]))
    with seeded(SEED):
        times = [1e3 * seconds(lambda epoch=epoch: list(map(len, epoch())), CALLS) for epoch in (plain, first, later)]
    count = sum(map(len, first()))
    plain_ms, decoded_ms, kept_ms = (time / count for time in times)
    agreement = "the same distribution, each with draws of its own"
    size = f"; file of {int(file.starts[-1]) / 1e9:.2f} GB"
    ways = [("decoded each time", decoded_ms, agreement), ("kept decoded", kept_ms, agreement + size)]
    return [
        Row("loader", f"{count} images, {way}: an image", plain_ms, ours_ms, "ms", plain_ms / ours_ms, agreed, "cpu")
        for way, ours_ms, agreed in ways
    ]


def _ours(images: Manifest, read: Callable) -> Callable[[], Iterator[Tensor]]:
    """Return a function that yields the images of the batches of an epoch."""
    transform = label_transform(SIZE, CROP, FLIP, RANDAUGMENT, ERASING)
    dataset = TrainingImages(list(images.table["id"]), read, label_targets(images), transform)
    batches = TrainingBatches(dataset, min(BATCH, len(images)), SEED, 0)
    return lambda: (batch["image"] for batch in batches.start(0))


def _plain(paths: list[str]) -> Callable[[], Iterator[Tensor]]:
    """Return the same with the published steps on Pillow images; the batches are normalised."""
    steps = [
        RandomResizedCropAndInterpolation(SIZE, CROP, interpolation="bicubic"),
        transforms.RandomHorizontalFlip(FLIP),
        partial(apply_two, RandAugment(RANDAUGMENT).on_pillow),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
        RandomErasing(ERASING, mode="pixel", device="cpu"),
    ]
    augment = transforms.Compose(steps)
    loader = DataLoader(
        paths,  # type: ignore[arg-type]
        min(BATCH, len(paths)),
        shuffle=True,
        drop_last=True,
        collate_fn=lambda batch: torch.stack([augment(Image.open(path).convert("RGB")) for path in batch]),
    )
    return lambda: iter(loader)
