"""Mean maps of whole images over scales, mirror images and windows."""

from collections.abc import Callable, Sequence
from itertools import product as pairs

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from semples.config.settings.outputs import Border

SIDE_MULTIPLE = 16  # every network here takes sides that are multiples of this


def average_views(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    scales: Sequence[float],
    flip: bool,
    size: tuple[int, int],
    border: Border = "reflect",
) -> Tensor:
    """Return the mean of a network's maps, float32 (batch, classes, *size), over scales and, if `flip`, mirror images.

    At scale 1 the network sees the pixels as they are. Other scales are resized bicubically.

    Args:
        network: Maps images (batch, 3, h, w) in [0, 1] to (batch, classes, ., .).
        size: (height, width) to which every map is resized bilinearly before the mean.
        border: How sides become multiples of SIDE_MULTIPLE. `reflect` mirrors the right and the lower border and leaves
            out the margin of the maps. `cut` cuts the remainder off and stretches the maps, as the published code.
    """
    total, mirrors = torch.zeros((), device=images.device), (False, True) if flip else (False,)
    for scale in scales:
        height, width = (max(1, round(scale * side)) for side in images.shape[-2:])
        scaled = (_pillow_bicubic if border == "cut" else resize_bicubic)(images, (height, width))
        for mirrored in mirrors:
            view = scaled.flip(-1) if mirrored else scaled
            view = _cut(view) if border == "cut" else _reflected(view)
            used = min(1.0, height / view.shape[-2]), min(1.0, width / view.shape[-1])
            maps = resize_part(network(view).float(), used, size)
            total = total + (maps.flip(-1) if mirrored else maps)
    return total / (len(scales) * len(mirrors))


def resize_bicubic(images: Tensor, sides: tuple[int, int]) -> Tensor:
    """Return images (batch, 3, h, w) in [0, 1] at (height, width) `sides`, themselves if they have these."""
    if images.shape[-2:] == sides:
        return images
    return F.interpolate(images, size=sides, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def _pillow_bicubic(images: Tensor, sides: tuple[int, int]) -> Tensor:
    """Return `resize_bicubic` as Pillow computes it, rounded to 8 bits."""
    if images.shape[-2:] == sides:
        return images
    pixels = (255 * images).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    resized = [Image.fromarray(image).resize(sides[::-1], Image.Resampling.BICUBIC) for image in pixels]
    return as_batch([np.array(image) for image in resized], images.device)


def _reflected(images: Tensor) -> Tensor:
    """Return images (batch, 3, h, w) with the right and lower border mirrored up to multiples of SIDE_MULTIPLE."""
    below, right = (-side % SIDE_MULTIPLE for side in images.shape[-2:])
    tiny = below >= images.shape[-2] or right >= images.shape[-1]  # less is there than is missing
    return F.pad(images, (0, right, 0, below), mode="replicate" if tiny else "reflect")


def _cut(images: Tensor) -> Tensor:
    """Return images (batch, 3, h, w) without what exceeds multiples of SIDE_MULTIPLE; less than one is mirrored."""
    height, width = (side - side % SIDE_MULTIPLE or side for side in images.shape[-2:])
    return _reflected(images[..., :height, :width])


def resize_part(maps: Tensor, used: tuple[float, float], size: tuple[int, int]) -> Tensor:
    """Return the upper left part of maps (batch, classes, h, w), bilinearly resized to (batch, classes, *size).

    Args:
        used: Fractions of height and width that the part has, in (0, 1].
    """
    if used == (1, 1):
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    down, across = used
    corners = maps.new_tensor([[across, 0, across - 1], [0, down, down - 1]]).expand(len(maps), -1, -1)
    grid = F.affine_grid(corners, [len(maps), 1, *size], align_corners=False)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


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
    return batch if side is None else resize_bicubic(batch, (side, side))
