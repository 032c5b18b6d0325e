"""Fusion of the maps of a generator, or of another method, with the guide's own maps of the same classes."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float

from semples.config.settings import Cams
from semples.data.cam_file import CamFile
from semples.data.foreign_maps import CamFolder, maps_of
from semples.data.images import resize_map
from semples.data.manifest import Manifest
from semples.inference.cams import MIN_MAX_EPS, ImageScores
from semples.models.masking import min_max

Maps = Float[np.ndarray, "classes h w"]


def fused_scores(
    batches: Iterator[list[ImageScores]], guide_maps: CamFile | CamFolder, images: Manifest, settings: Cams
) -> Iterator[list[ImageScores]]:
    """Yield the maps of `batches`, each fused with the guide's map of its class.

    Raises:
        SemplesError: There is a map of a class that is no label of the image, as finished masks may have.
    """
    remedy = "leave classes that are no labels out of the masks, or set `cams.fuse: none`"
    for batch in batches:
        fused = []
        for row, score, classes in batch:
            other = maps_of(guide_maps, images.table["id"][row], classes.tolist(), remedy)
            other = resize_map(other, *score.shape[1:])
            fused.append((row, fuse(score, other, settings.fuse, settings.fuse_weight), classes))
        yield fused


def fuse(score: Maps, other: Maps, how: str, weight: float) -> Maps:
    """Return N(N(s)^(1-w) N(g)^w) with `product`, N((1-w) N(s) + w N(g)) with `mean`; N scales each map to [0, 1]."""
    first, second = _scaled(score), _scaled(other)
    mixed = first ** (1 - weight) * second**weight if how == "product" else (1 - weight) * first + weight * second
    return _scaled(mixed)


def _scaled(score: Maps) -> Maps:
    return min_max(torch.from_numpy(score), MIN_MAX_EPS).numpy()
