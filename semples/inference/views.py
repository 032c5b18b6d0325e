"""Maps and masks of whole images, over scales and flips."""

from collections.abc import Callable, Sequence
from itertools import product as pairs

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE_MULTIPLE = 16  # every network here takes sides that are multiples of this


def averaged(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    scales: Sequence[float],
    flip: bool,
    size: tuple[int, int],
) -> Tensor:
    """Mean of a network's maps over scales, and over mirror images where `flip`.

    `images` (batch, 3, h, w) in [0, 1]; `network` maps images to (batch, classes, ., .); each result is brought to
    `size` (height, width) bilinearly before the mean. Returns (batch, classes, height, width), float32.
    """
    total, parts = 0, 0
    for scale in scales:
        sides = [max(1, round(scale * side / SIDE_MULTIPLE)) * SIDE_MULTIPLE for side in images.shape[-2:]]
        scaled = F.interpolate(images, size=sides, mode="bilinear", align_corners=False, antialias=True)
        for mirrored in (False, True) if flip else (False,):
            maps = network(scaled.flip(-1) if mirrored else scaled).float()
            maps = maps.flip(-1) if mirrored else maps
            total = total + F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
            parts += 1
    return total / parts


def windowed(network: Callable[[Tensor], Tensor], images: Tensor, side: int | None, overlap: float) -> Tensor:
    """Mean of a network's scores over square windows that cover the images; all at once without a `side`.

    `images` (batch, 3, h, w); `network` keeps height and width. Neighbouring windows share at least `overlap` of
    their side, and the last ones end at the border. Returns (batch, classes, h, w), float32.
    """
    height, width = images.shape[-2:]
    if side is None or (height <= side and width <= side):
        return network(images).float()
    total, count = 0, images.new_zeros(1, 1, height, width)
    for top, left in pairs(window_starts(height, side, overlap), window_starts(width, side, overlap)):
        here = (..., slice(top, top + side), slice(left, left + side))
        scores = network(images[here]).float()
        if not isinstance(total, Tensor):
            total = scores.new_zeros(*scores.shape[:2], height, width)
        total[here] += scores
        count[here] += 1
    return total / count


def window_starts(length: int, side: int, overlap: float) -> list[int]:
    """First pixels of the windows along one side of an image, evenly apart."""
    if length <= side:
        return [0]
    steps = -(-(length - side) // max(1, int(side * (1 - overlap))))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


def stored_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """Size of maps kept at a stride: the image's, divided and rounded up."""
    return -(-height // stride), -(-width // stride)


def as_batch(images: list, device: torch.device, side: int | None = None) -> Tensor:
    """uint8 arrays (h, w, 3) of one shape -> float (batch, 3, h, w) in [0, 1], squashed to `side` if given."""
    batch = torch.stack([torch.from_numpy(image) for image in images]).to(device)
    batch = batch.permute(0, 3, 1, 2).float() / 255
    if side is not None:
        batch = F.interpolate(batch, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    return batch
