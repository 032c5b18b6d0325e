"""Class activation maps (CAMs) of whole images by a trained generator."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from semples.config.settings import Cams, Settings
from semples.data.cam_file import CamWriter
from semples.data.images import read_image
from semples.data.manifest import Manifest
from semples.files import atomic_path
from semples.inference.views import as_batch, average_views, stored_size
from semples.models.generators import Maps, MaskGenerator
from semples.models.masking import min_max
from semples.runtime.cpu import OneDnn, fuse, uses_onednn
from semples.runtime.devices import make_fabric
from semples.runtime.parallel import map_threads

MIN_MAX_EPS = 1e-8
CACHED_PIXELS = 2**18  # of a batch on a CPU; larger ones are no faster, for their features leave the cache
NO_LOCK = nullcontext()
ImageScores = tuple[int, np.ndarray, np.ndarray]
"""Row of the manifest, scores float32 (present, h, w) in [0, 1], and class indices (present,)."""


def batches_of_scores(settings: Settings, model: MaskGenerator, images: Manifest) -> Iterator[list[ImageScores]]:
    """Yield the CAMs of all images in batches; images of one size follow each other.

    `run.threads` threads each carry a batch from file to maps, while the caller writes. On a CPU each computes on one
    core, so that results are the same for any number of them. A GPU computes one batch after the other.
    """
    torch.set_num_threads(1)
    fabric = make_fabric(settings.run.device, settings.precision)
    cpu = fabric.device.type == "cpu"
    with fabric.autocast():
        by_onednn = cpu and uses_onednn() and not torch.is_autocast_enabled("cpu")
    if by_onednn:
        fuse(model)
    network = fabric.setup_module(model.eval())
    labels, cams = images.label_matrix(), settings.cams
    gpu_lock = NO_LOCK if cpu else Lock()

    def work(rows: list[int]) -> list[ImageScores]:
        with OneDnn() if by_onednn else nullcontext():
            return list(scores(network, images, labels, rows, cams, fabric.device, gpu_lock))

    batches = same_size_batches(images, cams.batch, CACHED_PIXELS if cpu else None)
    yield from map_threads(work, batches, settings.run.threads)


def same_size_batches(images: Manifest, batch: int, pixels: int | None = None) -> Iterator[list[int]]:
    """Yield rows of the manifest whose images have one size: at most `batch` images, and `pixels` pixels in all."""
    for (height, width), group in images.table.groupby(["height", "width"], sort=True):
        rows, most = list(group.index), min(batch, max(1, pixels // (height * width))) if pixels else batch
        yield from (rows[i : i + most] for i in range(0, len(rows), most))


@torch.inference_mode()
def scores(
    network: Callable[[Tensor], Maps],
    images: Manifest,
    labels: np.ndarray,
    rows: list[int],
    cams: Cams,
    device: torch.device,
    gpu_lock: AbstractContextManager = NO_LOCK,
) -> Iterator[ImageScores]:
    """Yield the CAMs of the present classes of the images of `rows`, which have one size, at the stored stride.

    `labels` (images, classes) is 1 where a class is present; `gpu_lock` is held while the network runs.
    """
    table = images.table
    decoded = [read_image(table["image"][row]) for row in rows]
    size = stored_size(table["height"][rows[0]], table["width"][rows[0]], cams.stride)
    present = [np.flatnonzero(labels[row]) for row in rows]
    with gpu_lock:
        batch = as_batch(decoded, device, cams.resize)
        maps = average_views(lambda x: network(x).cams, batch, cams.scales, cams.flip, size, cams.border)
        of_present = [image[torch.from_numpy(k)] for image, k in zip(maps, present, strict=True)]
        scaled = [min_max(image, MIN_MAX_EPS).cpu().numpy() for image in of_present]
    yield from zip(rows, scaled, present, strict=True)


def write_scores(
    batches: Iterator[list[ImageScores]], images: Manifest, dtype: str, made_from: dict[str, str], out: Path
) -> None:
    """Write the scores of all images to the HDF5 file `out`, whole or not at all.

    Args:
        dtype, made_from: Type of the stored scores, and provenance, as `CamWriter` takes them.
    """
    ids, names = list(images.table["id"]), images.classes.names
    bar = tqdm(total=len(images), desc=made_from["command"], unit="image", mininterval=2)
    with bar, atomic_path(out) as partial, CamWriter(partial, names, ids, dtype, made_from) as writer:
        for batch in batches:
            for row, score, classes in batch:
                image = images.table.iloc[row]
                writer.add(image["id"], score, classes, image["height"], image["width"])
            bar.update(len(batch))
    print(f"{len(images)} images: {out}")
