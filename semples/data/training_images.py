"""Training images: decoded, augmented, batched. A batch depends on seed, epoch and position alone, not on processes."""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric.utilities import move_data_to_device
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import tv_tensors

from semples.data.cam_file import CamFile
from semples.data.decoded_cache import image_shapes, in_memory
from semples.data.foreign_maps import CamFolder, maps_of
from semples.data.images import read_mask, resize_map
from semples.data.jpeg import Jpeg, decode
from semples.data.manifest import Manifest
from semples.errors import SemplesError
from semples.runtime.parallel import workers_that_fit
from semples.runtime.seeds import seed_of, seeded

READY_BATCHES = 3  # of a worker at a time: two ahead and the one in use


def label_targets(images: Manifest, cams: CamFile | CamFolder | None = None) -> Callable[[int], dict[str, Tensor]]:
    """Return the function that gives the targets of image `index`: `labels` (classes,).

    With `cams` also `pair_maps`, tv_tensors.Mask float32 (present, height, width), in the order of the image's classes.
    """
    labels = torch.from_numpy(images.label_matrix())
    return partial(_targets, labels, cams, list(images.table["id"]), image_shapes(images))


def _targets(
    labels: Tensor, cams: CamFile | CamFolder | None, ids: list[str], shapes: list[tuple[int, int]], index: int
) -> dict[str, Tensor]:
    if cams is None:
        return {"labels": labels[index]}
    present = labels[index].nonzero().flatten().tolist()
    score = resize_map(maps_of(cams, ids[index], present), *shapes[index])
    return {"labels": labels[index], "pair_maps": tv_tensors.Mask(torch.from_numpy(score))}


def mask_targets(
    images: Manifest, memory_gb: float, masks: list[str], confidence: list[str] | None = None
) -> Callable[[int], dict[str, Tensor]]:
    """Return the function that gives the targets of image `index`: `mask`, and `confidence`, uint8 (height, width).

    Args:
        memory_gb: Every process that decodes keeps the masks in memory if the images need at most this many GB.
        masks, confidence: Paths in the order of the manifest.
    """
    paths = {"mask": masks} | ({} if confidence is None else {"confidence": confidence})
    return in_memory(partial(_read_masks, paths, image_shapes(images)), images, memory_gb)


def _read_masks(paths: dict[str, list[str]], shapes: list[tuple[int, int]], index: int) -> dict[str, Tensor]:
    planes = {name: read_mask(Path(files[index]), shapes[index]) for name, files in paths.items()}
    return {name: tv_tensors.Mask(torch.from_numpy(plane)) for name, plane in planes.items()}


@dataclass
class TrainingImages(Dataset):
    """Augmented images and their targets: `image` float32 (3, size, size) in [0, 1], and what `targets` gives.

    With `features` also these, float16 (channels, rows, columns); with `backgrounds` also `pair_backgrounds`, float32
    (present, width); without `read` no image.
    Erased pixels are noise that leaves [0, 1] (data.augment.RandomErasing).
    """

    ids: Sequence[str]
    read: Callable[[int], np.ndarray | Jpeg] | None
    """Gives image `index`, RGB uint8 (height, width, 3) or a JPEG file: data.decoded_cache.decoder."""
    targets: Callable[[int], dict[str, Tensor]]
    """Gives the targets of image `index` by name; a tv_tensors.Mask is augmented with the image."""
    transform: Callable
    """Augmentation of an image uint8 (3, height, width), or of an image and the masks among its targets."""
    augment_on_device: bool = False
    """Yield images as `read` gives them; call `augment_batch` after moving them."""
    features: Callable[[int, int], Tensor] | None = None
    """Gives the features of image `index`, mirrored where `transform` mirrors it under an augmentation seed."""
    backgrounds: Callable[[int, int], Tensor] | None = None
    """Gives the embeddings of the backgrounds of image `index`, of its mirror image where `features` are mirrored."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any] | SemplesError:
        """Return the item of an (index, augmentation seed) pair, or its error, which a worker cannot raise as it is."""
        try:
            return self._item(*key)
        except SemplesError as error:
            return error

    def _item(self, index: int, seed: int) -> dict[str, Any]:
        targets = self.targets(index)
        if self.features:
            targets = {**targets, "features": self.features(index, seed)}
        if self.backgrounds:
            targets = {**targets, "pair_backgrounds": self.backgrounds(index, seed)}
        if self.read is None:
            return targets
        image: Any = self.read(index)
        if not isinstance(image, Jpeg):
            image = torch.from_numpy(image).permute(2, 0, 1)
        if self.augment_on_device:
            return {"raw": image, "seed": seed, **targets}
        masks = {name: target for name, target in targets.items() if isinstance(target, tv_tensors.Mask)}
        image, *moved = self._augment(image, seed, *masks.values())
        return {"image": image, **targets, **dict(zip(masks, moved, strict=True))}

    def augment_batch(self, batch: dict[str, Any], device: torch.device | str) -> dict[str, Tensor]:
        """Return the batch with its images decoded together and augmented one by one on the device, if they are not."""
        if "raw" in batch:
            raw = batch.pop("raw")
            decoded = iter(decode([image for image in raw if isinstance(image, Jpeg)], device))
            images = [next(decoded) if isinstance(image, Jpeg) else image for image in raw]
            pairs = zip(images, batch.pop("seed"), strict=True)
            batch["image"] = torch.stack([self._augment(image, seed)[0] for image, seed in pairs])
        return batch

    def _augment(self, image: Tensor, seed: int, *masks: Tensor) -> Sequence[Tensor]:
        with seeded(seed):
            moved = self.transform(tv_tensors.Image(image), *masks)
        return moved if masks else (moved,)


class EpochBatches(Sampler):
    """Batches of (index, augmentation seed) pairs that depend on seed, epoch and image alone, not on who asks.

    A last incomplete batch is left out unless it is the only one. A resumed run sets `first`, the batch it goes on
    with; each of `ranks` processes takes its share of every batch. `epoch` is an attribute and no `set_epoch`, which
    Fabric calls with its own count, from 0 in a resumed run. With `in_order` all images come, in their order.
    """

    def __init__(self, length: int, batch: int, seed: int, in_order: bool = False) -> None:
        self.length, self.batch, self.seed, self.in_order = length, batch, seed, in_order
        self.epoch, self.first, self.rank, self.ranks = 0, 0, 0, 1

    def __len__(self) -> int:
        return -(-self.length // self.batch) if self.in_order else max(1, self.length // self.batch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = list(range(self.length)) if self.in_order else self._shuffled()
        for start in range(self.first * self.batch, len(self) * self.batch, self.batch):
            mine = order[start : start + self.batch][self.rank :: self.ranks]
            yield [(index, seed_of(self.seed, self.epoch, index)) for index in mine]

    def _shuffled(self) -> list[int]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.epoch)
        return torch.randperm(self.length, generator=generator).tolist()


class TrainingBatches:
    """The shuffled, augmented batches of a run, or those of all images in their order: data set, sampler and loader.

    A batch has what the items have, stacked: `image` (batch, 3, size, size), `features`, the targets; with labels also
    `pair_image` and `pair_class`, the pairs of `present_pairs`, and in their order `pair_maps` (pairs, size, size) and
    `pair_backgrounds` (pairs, width).
    """

    def __init__(self, dataset: TrainingImages, batch: int, seed: int, workers: int, in_order: bool = False) -> None:
        self.dataset, self.sampler = dataset, EpochBatches(len(dataset), batch, seed, in_order)
        if workers and isinstance(item := dataset[0, 0], dict):
            size = batch * sum(value.nbytes for value in item.values() if isinstance(value, Tensor))
            workers = workers_that_fit(workers, READY_BATCHES * size)
        options: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
        options |= {"worker_init_fn": _outlive_signals, "pin_memory": torch.cuda.is_available()}
        self.loader = DataLoader(dataset, batch_sampler=self.sampler, collate_fn=_collate, **options)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.sampler)

    def share(self, rank: int, ranks: int) -> None:
        """Take the share of process `rank` of `ranks` in every batch; SemplesError if batches are too small."""
        images = min(self.sampler.batch, self.sampler.length)
        if images < ranks:
            problem, expected = f"{ranks} processes for batches of {images} images", "an image per process and step"
            raise SemplesError("run.devices", problem, expected, "lower `run.devices` or raise the stage's `batch`")
        self.sampler.rank, self.sampler.ranks = rank, ranks

    def start(self, epoch: int, first: int = 0, device: torch.device | str = "cpu") -> Iterator[dict[str, Tensor]]:
        """Yield the batches of an epoch from batch `first` on, on the device."""
        self.sampler.epoch, self.sampler.first = epoch, first
        try:
            for batch in self.loader:
                if isinstance(batch, SemplesError):
                    raise batch
                yield self.dataset.augment_batch(move_data_to_device(batch, torch.device(device)), device)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            expected = "workers with enough memory and shared memory (/dev/shm)"
            raise SemplesError("run.workers", str(error), expected, "lower `run.workers`; 0 needs none") from error

    def ids(self, epoch: int, number: int) -> list[str]:
        """Return the ids of the images in batch `number` of an epoch, for all processes together."""
        self.share(0, 1)
        self.sampler.epoch, self.sampler.first = epoch, number
        return [self.dataset.ids[index] for index, _ in next(iter(self.sampler))]


def _outlive_signals(_worker: int) -> None:
    """Go on for a minute after a signal that all processes of a job get: the loop saves and ends its workers."""
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(60))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _collate(items: list[Any]) -> dict[str, Any] | SemplesError:
    if errors := [item for item in items if isinstance(item, SemplesError)]:
        return errors[0]
    columns: dict[str, Any] = {key: [item[key] for item in items] for key in items[0]}
    for key in columns.keys() - {"raw", "seed"}:  # decoded images have sizes of their own
        columns[key] = (torch.cat if key.startswith("pair_") else torch.stack)(columns[key])
    if "labels" in columns:
        columns["pair_image"], columns["pair_class"] = present_pairs(columns["labels"])
    return columns


def present_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return image and class index, each (pairs,), of every present class in `labels` (batch, classes)."""
    image, klass = labels.nonzero(as_tuple=True)
    return image, klass
