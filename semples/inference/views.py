"""Mean maps of whole images over scales, mirror images and windows."""

from collections.abc import Callable, Sequence
from itertools import product as pairs

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE_MULTIPLE = 16  # every network here takes sides that are multiples of this


def average_views(
    network: Callable[[Tensor], Tensor], images: Tensor, scales: Sequence[float], flip: bool, size: tuple[int, int]
) -> Tensor:
    """Return the mean of a network's maps, float32 (batch, classes, *size), over scales and, if `flip`, mirror images.

    Args:
        network: Maps images (batch, 3, h, w) in [0, 1] to (batch, classes, ., .).
        size: (height, width) to which every map is resized bilinearly before the mean.
    """
    total, mirrors = torch.zeros((), device=images.device), (False, True) if flip else (False,)
    for scale in scales:
        sides = [max(1, round(scale * side / SIDE_MULTIPLE)) * SIDE_MULTIPLE for side in images.shape[-2:]]
        scaled = F.interpolate(images, size=sides, mode="bilinear", align_corners=False, antialias=True)
        for mirrored in mirrors:
            maps = network(scaled.flip(-1) if mirrored else scaled).float()
            maps = maps.flip(-1) if mirrored else maps
            total = total + F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    return total / (len(scales) * len(mirrors))


def average_windows(network: Callable[[Tensor], Tensor], images: Tensor, side: int | None, overlap: float) -> Tensor:
    """Return the mean of a network's scores, float32 (batch, classes, h, w), over windows that cover the images.

    Args:
        network: Maps images (batch, 3, h, w) to scores (batch, classes, h, w).
        side: Side of the square windows in pixels; None: the network sees the whole images.
        overlap: Least share of their side that neighbouring windows have in common; the last ones end at the border.
    """
    height, width = images.shape[-2:]
    if side is None or (height <= side and width <= side):
        return network(images).float()
    total, count = torch.empty(0), images.new_zeros(1, 1, height, width)
    for top, left in pairs(window_starts(height, side, overlap), window_starts(width, side, overlap)):
        window = (..., slice(top, top + side), slice(left, left + side))
        scores = network(images[window]).float()
        if not total.numel():
            total = scores.new_zeros(*scores.shape[:2], height, width)
        total[window] += scores
        count[window] += 1
    return total / count


def window_starts(length: int, side: int, overlap: float) -> list[int]:
    """Return the first pixels of the windows along one side of an image, evenly apart."""
    steps = -(-max(0, length - side) // max(1, int(side * (1 - overlap))))
    return [round(step * (length - side) / steps) for step in range(steps + 1)] if steps else [0]


def stored_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """Return the (height, width) of maps that are stored at a stride: those of the image, divided and rounded up."""
    return -(-height // stride), -(-width // stride)


def as_batch(images: list[np.ndarray], device: torch.device, side: int | None = None) -> Tensor:
    """Return uint8 images (h, w, 3) of one shape as float32 (batch, 3, h, w) in [0, 1], squashed to `side` if set."""
    batch = torch.stack([torch.from_numpy(image) for image in images]).to(device).permute(0, 3, 1, 2).float() / 255
    if side is None:
        return batch
    return F.interpolate(batch, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
