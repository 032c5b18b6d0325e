"""Training images from a manifest: decoded, augmented, batched."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from semples.data.cam_file import CamFile, CamFolder
from semples.data.decoded_cache import DecodedImages
from semples.data.images import read_image, resize_map
from semples.data.manifest import Manifest
from semples.errors import SemplesError
from semples.runtime.seeds import seed_of, seeded


class Photographs(Dataset):
    """Images of a manifest with their label vectors.

    With `cams` an item also has the maps of its classes, cropped and flipped as the image. A set whose decoded size is
    within `cache_gb` is kept in memory after its first epoch, by every process that decodes; a larger one in a file of
    the folder `cache`, where there is one, for all of them. With `later` images come as they are: `augmented` does the
    rest, wherever they then lie.
    """

    def __init__(
        self,
        manifest: Manifest,
        transform,
        cache_gb: float,
        cams: CamFile | CamFolder | None = None,
        cache: Path | None = None,
        later: bool = False,
    ) -> None:
        self.ids, self.cams = list(manifest.table["id"]), cams
        self.paths = list(manifest.table["image"])
        self.shapes = list(zip(manifest.table["height"], manifest.table["width"], strict=True))
        self.labels = torch.from_numpy(manifest.label_matrix())
        self.later = later
        self.transform = transform
        decoded = 4 * sum(h * w for h, w in self.shapes)
        self.cache: dict[int, tuple] | None = {} if decoded <= cache_gb * 1e9 else None
        self.file = DecodedImages(cache, self.paths, self.shapes) if cache and self.cache is None else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, drawn: tuple[int, int]) -> dict[str, Any]:
        """The image of an (index, seed) pair; the seed is that of its augmentation."""
        index, seed = drawn
        if self.later:
            return {"raw": self._decoded(index)[0], "seed": seed, "labels": self.labels[index]}
        with seeded(seed):
            return self._augmented(index)

    def augmented(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """A batch of images as they are, with their augmentation done image by image where they lie."""
        raw, seeds = batch.pop("raw", None), batch.pop("seed", None)
        if raw is not None:
            batch["image"] = torch.stack([self._drawn(image, seed) for image, seed in zip(raw, seeds, strict=True)])
        return batch

    def _drawn(self, image: Tensor, seed: int) -> Tensor:
        with seeded(seed):
            return self.transform(tv_tensors.Image(image))

    def _augmented(self, index: int) -> dict[str, Tensor]:
        image, _ = self._decoded(index)
        if self.cams is not None:
            image, maps = self.transform(image, tv_tensors.Mask(self._maps(index)))
            return {"image": image, "labels": self.labels[index], "pair_maps": maps}
        return {"image": self.transform(image), "labels": self.labels[index]}

    def _maps(self, index: int) -> Tensor:
        """Maps of the image's classes, in their order, at its own size: float32 (present, h, w)."""
        found = self.cams.read(self.ids[index])
        order = {klass: place for place, klass in enumerate(found.classes.tolist())}
        present = self.labels[index].nonzero().flatten().tolist()
        if missing := set(present) - set(order):
            raise SemplesError(
                f"{self.cams.path}, image {self.ids[index]!r}",
                f"no map of class {min(missing)}",
                f"maps of the classes {present}, counted from 0",
                "export the CAMs of every label",
            )
        height, width = self.shapes[index]
        return torch.from_numpy(resize_map(found.score[[order[k] for k in present]], height, width))

    def _decoded(self, index: int) -> tuple[tv_tensors.Image, Tensor | None]:
        """The image uint8 (3, h, w) and its target, from memory where they are kept."""
        if self.cache is not None and index in self.cache:
            return self.cache[index]
        pixels = self._pixels(index)
        image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
        decoded = image, self._target(index, pixels.shape[:2])
        if self.cache is not None:
            self.cache[index] = decoded
        return decoded

    def _target(self, index: int, shape: tuple[int, int]) -> Tensor | None:
        """What else is decoded with an image of (height, width) `shape`: nothing here."""
        return None

    def _pixels(self, index: int) -> np.ndarray:
        """RGB uint8 (h, w, 3)."""
        if self.file is None:
            return read_image(self.paths[index])
        pixels = self.file.read(index)
        if pixels is None:
            pixels = read_image(self.paths[index])
            self.file.write(index, pixels)
        return pixels


class EpochBatches(Sampler):
    """Batches of (index, seed) pairs that depend on the seed, `epoch` and image alone, not on who asks or how often.

    The seed of a pair is that of the image's augmentation. A last incomplete batch is left out where there is another.
    A resumed run sets `first`, the batch it goes on with; of several processes (`ranks`) each takes its share of every
    batch. `epoch` is an attribute and no `set_epoch`: Fabric calls that with its own count, which starts anew.
    """

    def __init__(self, length: int, batch: int, seed: int) -> None:
        self.length, self.batch, self.seed = length, batch, seed
        self.epoch, self.first, self.rank, self.ranks = 0, 0, 0, 1

    def __len__(self) -> int:
        return max(1, self.length // self.batch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        for start in range(self.first * self.batch, len(self) * self.batch, self.batch):
            mine = order[start : start + self.batch][self.rank :: self.ranks]
            yield [(index, seed_of(self.seed, self.epoch, index)) for index in mine]


def batches(dataset: Photographs, batch: int, seed: int, workers: int) -> DataLoader:
    """A loader of shuffled batches."""
    return DataLoader(
        dataset,
        batch_sampler=EpochBatches(len(dataset), batch, seed),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=_collate,
        worker_init_fn=_outlive_sigterm,
    )


def _outlive_sigterm(_worker: int) -> None:
    """A scheduler sends SIGTERM to all processes; the loop wants to save first, and its workers end with it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    ragged = ("pair_maps", "raw", "seed")
    batch = {key: torch.stack([item[key] for item in items]) for key in items[0] if key not in ragged}
    batch |= {key: [item[key] for item in items] for key in ("raw", "seed") if key in items[0]}
    if "pair_maps" in items[0]:
        batch["pair_maps"] = torch.cat([item["pair_maps"] for item in items])  # in the order of the pairs
    if "labels" in batch:
        batch["pair_image"], batch["pair_class"] = present_pairs(batch["labels"])
    return batch


def label_transform(
    size: int, crop_scale: tuple[float, float], flip: float, randaugment: int, erasing: float
) -> v2.Compose:
    """uint8 (3, h, w) -> augmented float in [0, 1] (3, size, size)."""
    bicubic = {"interpolation": InterpolationMode.BICUBIC, "antialias": True}
    whole = tuple(crop_scale) == (1, 1)
    steps: list = [
        v2.Resize((size, size), **bicubic) if whole else v2.RandomResizedCrop(size, tuple(crop_scale), **bicubic),
        v2.RandomHorizontalFlip(flip),
    ]
    if randaugment:
        steps.append(v2.RandAugment(num_ops=2, magnitude=3 * randaugment))  # torchvision counts to 30
    steps.append(v2.ToDtype(torch.float32, scale=True))
    if erasing:
        steps.append(v2.RandomErasing(erasing, value="random"))
    return v2.Compose([*steps, v2.ToPureTensor()])


def present_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Image and class index of every (image, present class) pair of `labels` (batch, classes), each (pairs,)."""
    image, klass = labels.nonzero(as_tuple=True)
    return image, klass
