"""Refine the CAMs of a file by their photographs: by superpixels, pixel-adaptive refinement, or SAM."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from semples.config.settings import Refine, Settings
from semples.data.cam_file import CamFile
from semples.data.images import read_image, resize_map
from semples.data.manifest import Manifest
from semples.inference.cams import CACHED_PIXELS, ImageScores, same_size_batches
from semples.inference.sam import sam_maps
from semples.inference.superpixels import region_means
from semples.inference.views import as_batch, stored_size
from semples.models.pamr import pixel_adaptive
from semples.runtime.devices import make_fabric
from semples.runtime.parallel import map_processes

Job = tuple[int, str, Path, int, int]  # row, id, photograph, height, width


def refined_scores(
    settings: Settings, cams: Path, images: Manifest, network: Any = None
) -> Iterator[list[ImageScores]]:
    """Yield the refined maps of all images, at the stride of their kind; no map has a higher score than before.

    Args:
        cams: HDF5 file of CAMs.
        images: Those to refine.
        network: SamModel or Sam2Model, for the kind `sam`.
    """
    columns = images.table[["id", "image", "height", "width"]].itertuples(name=None)
    jobs: list[Job] = [(row, image, Path(photo), *shape) for row, image, photo, *shape in columns]
    if settings.refine.kind == "superpixels":
        work = partial(_by_superpixels, cams, settings.refine)
        yield from ([result] for result in map_processes(work, jobs, settings.run.threads, "", total=len(jobs)))
        return
    torch.set_num_threads(settings.run.threads)
    fabric = make_fabric(settings.run.device, settings.precision if settings.refine.kind == "sam" else "32-true")
    with CamFile(cams) as file:
        if settings.refine.kind == "sam":
            network = network.to(fabric.device).eval()
            with fabric.autocast():
                yield from ([_by_sam(file, settings.refine, network, job)] for job in jobs)
            return
        most = CACHED_PIXELS if fabric.device.type == "cpu" else None
        for rows in same_size_batches(images, settings.refine.pamr.batch, most):
            yield _by_pamr(file, settings.refine, fabric.device, [jobs[row] for row in rows])


def _read(file: CamFile, job: Job, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the maps of an image (labels, h, w) and the photograph (h, w, 3) at a stride, and the maps' classes."""
    _, image, photo, height, width = job
    maps, size = file.read(image, (height, width)), stored_size(height, width, stride)
    small = cv2.resize(read_image(photo), size[::-1], interpolation=cv2.INTER_AREA)
    return resize_map(maps.score, *size), small, maps.classes


def _by_superpixels(cams: Path, settings: Refine, job: Job) -> ImageScores:
    with CamFile(cams) as file:
        score, photo, classes = _read(file, job, settings.stride())
    return job[0], _keep_peaks(region_means(score, photo, settings.superpixels), score), classes


def _by_pamr(file: CamFile, settings: Refine, device: torch.device, jobs: list[Job]) -> list[ImageScores]:
    """Refine images of one size together, the maps of those with fewer labels padded with empty ones."""
    scores, photos, classes = zip(*(_read(file, job, settings.stride()) for job in jobs), strict=True)
    maps = torch.zeros(len(jobs), max(map(len, scores)), *scores[0].shape[1:])
    for padded, score in zip(maps, scores, strict=True):
        padded[: len(score)] = torch.from_numpy(score)
    section = settings.pamr
    how = section.dilations, section.iterations, section.bandwidth
    refined = pixel_adaptive(maps.to(device), as_batch(list(photos), device), *how).cpu().numpy()
    return [
        (job[0], _keep_peaks(padded[: len(score)], score), present)
        for job, padded, score, present in zip(jobs, refined, scores, classes, strict=True)
    ]


def _by_sam(file: CamFile, settings: Refine, network: Any, job: Job) -> ImageScores:
    score, _, classes = _read(file, job, settings.stride())
    return job[0], sam_maps(network, read_image(job[2]), score, settings.sam), classes


def _keep_peaks(refined: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return refined maps scaled so that each has the highest score of its map before: means lower it."""
    before, after = (maps.max(axis=(1, 2), keepdims=True) for maps in (score, refined))
    scaled = refined * np.divide(before, after, out=np.ones_like(before), where=after > 0)
    return np.minimum(scaled, before).astype(np.float32)
