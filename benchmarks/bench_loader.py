"""Batches of augmented training images (random crop to 224, flip, RandAugment, random erasing) in one process, as the
training loop receives them. *Plain* decodes every image in every epoch, as the published code does. *Ours* keeps
decoded images in a memory-mapped file (`run.cache_folder`), which the first epoch fills."""

import torch

from benchmarks.frame import Inputs, Row, seconds
from semples.data.augment import label_transform
from semples.data.decoded_cache import DecodedFile, decoder
from semples.data.training_images import TrainingBatches, TrainingImages, label_targets

BATCH, SEED, CALLS = 32, 0, 3
AUGMENT = {"size": 224, "crop_scale": (0.08, 1.0), "flip": 0.5, "randaugment": 9, "erasing": 0.25}


def rows(inputs: Inputs) -> list[Row]:
    """Measure seconds per image of both, and the size of the file."""
    torch.set_num_threads(1)
    images = inputs.images()
    transform = label_transform(**AUGMENT)
    file = DecodedFile(inputs.folder / "decoded", images)
    datasets = [
        TrainingImages(list(images.table["id"]), decode, label_targets(images), transform)
        for decode in (decoder(images, 0, None), file)
    ]
    loaders = [TrainingBatches(dataset, min(BATCH, len(images)), SEED, 0) for dataset in datasets]
    epochs = [loader.start(0) for loader in loaders]
    equal = all(torch.equal(one["image"], two["image"]) for one, two in zip(*epochs, strict=True))
    if not equal:
        raise RuntimeError("the file of decoded images changes a batch")
    count = len(loaders[0]) * min(BATCH, len(images))
    times = [1e3 * seconds(lambda loader=loader: list(map(len, loader.start(0))), CALLS) / count for loader in loaders]
    agreement = f"all batches of an epoch equal; file of {int(file.starts[-1]) / 1e9:.2f} GB"
    return [Row("loader", f"an image, {count} images", *times, "ms", times[0] / times[1], agreement, "cpu")]
