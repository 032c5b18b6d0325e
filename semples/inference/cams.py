"""CAMs of whole images by a trained generator."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from threading import Lock

import numpy as np
import torch

from semples.config.settings import Cams, Settings
from semples.data.images import read_image
from semples.data.manifest import Manifest
from semples.inference.views import as_batch, averaged, stored_size
from semples.models.generators import MaskGenerator
from semples.models.masking import min_max
from semples.runtime.cpu import OneDnn, fuse, uses_onednn
from semples.runtime.devices import make_fabric
from semples.runtime.parallel import map_threads

MIN_MAX_EPS = 1e-8


CACHED_PIXELS = 2**18  # of a batch on a CPU; larger ones are no faster, for their features leave the cache


NO_LOCK = nullcontext()


def batches_of_scores(
    settings: Settings, model: MaskGenerator, images: Manifest
) -> Iterator[list[tuple[int, np.ndarray, np.ndarray]]]:
    """Row, scores and classes, as `scores` gives them, of all images; a list a batch, equal sizes after each other.

    `run.threads` threads carry a batch each from file to maps, while the caller writes. On a CPU each is one core's,
    a batch no larger than a cache takes, and results are the same for any number of threads; a GPU computes one batch
    after the other, while the others are decoded.
    """
    torch.set_num_threads(1)
    fabric = make_fabric(settings.run.device, settings.precision)
    cpu = fabric.device.type == "cpu"
    with fabric.autocast():
        by_onednn = cpu and uses_onednn() and not torch.is_autocast_enabled("cpu")
    if by_onednn:
        fuse(model)
    model = fabric.setup_module(model.eval())
    labels, chosen = images.label_matrix(), settings.cams
    gpu_lock = NO_LOCK if cpu else Lock()

    def work(rows: list[int]) -> list[tuple[int, np.ndarray, np.ndarray]]:
        with OneDnn() if by_onednn else nullcontext():
            return list(scores(model, images, labels, rows, chosen, fabric.device, gpu_lock))

    batches = same_size_batches(images, chosen.batch, CACHED_PIXELS if cpu else None)
    yield from map_threads(work, batches, settings.run.threads)


def same_size_batches(images: Manifest, batch: int, pixels: int | None = None) -> Iterator[list[int]]:
    """Rows of the manifest in groups of one image size, at most `batch` each, and of `pixels` together if given."""
    for (height, width), group in images.table.groupby(["height", "width"], sort=True):
        rows, most = list(group.index), min(batch, max(1, pixels // (height * width))) if pixels else batch
        yield from (rows[i : i + most] for i in range(0, len(rows), most))


@torch.inference_mode()
def scores(
    model: MaskGenerator,
    images: Manifest,
    labels: np.ndarray,
    rows: list[int],
    chosen: Cams,
    device: torch.device,
    gpu_lock: AbstractContextManager = NO_LOCK,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Row, scores (present, h, w) in [0, 1] and class indices (present,) of each image; `gpu_lock` is held while the
    network runs."""
    table = images.table
    decoded = [read_image(table["image"][row]) for row in rows]
    size = stored_size(table["height"][rows[0]], table["width"][rows[0]], chosen.stride)
    with gpu_lock:
        batch = as_batch(decoded, device, chosen.resize)
        maps = averaged(lambda x: model(x).cams, batch, chosen.scales, chosen.flip, size)
        present = [np.flatnonzero(labels[row]) for row in rows]
        chosen_maps = [image[torch.from_numpy(k)] for image, k in zip(maps, present, strict=True)]
        found = [min_max(image, MIN_MAX_EPS).cpu().numpy() for image in chosen_maps]
    yield from zip(rows, found, present, strict=True)
