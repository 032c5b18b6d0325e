"""From maps to masked images."""

import torch
import torch.nn.functional as F
from torch import Tensor


def min_max(maps: Tensor, eps: float) -> Tensor:
    """`(m - min) / (max - min + eps)` of each map: (..., h, w) in, (..., h, w) in [0, 1) out."""
    low = maps.amin(dim=(-2, -1), keepdim=True)
    high = maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low + eps)


def pair_masks(maps: Tensor, image: Tensor, klass: Tensor, size: int, eps: float) -> Tensor:
    """Maps (batch, classes, h, w) of the pairs, bilinear to (pairs, 1, size, size) and scaled to [0, 1)."""
    return scaled_masks(maps[image, klass], size, eps)


def scaled_masks(maps: Tensor, size: int, eps: float) -> Tensor:
    """Maps (pairs, h, w), bilinear to (pairs, 1, size, size) and scaled to [0, 1)."""
    resized = F.interpolate(maps.float().unsqueeze(1), size=(size, size), mode="bilinear", align_corners=False)
    return min_max(resized, eps)


def masked_view(pixels: Tensor, mask: Tensor, fill: Tensor) -> Tensor:
    """Normalised pixels (pairs, 3, size, size) where the mask (pairs, 1, size, size) is 1, the colour `fill` elsewhere.

    `fill` (3, 1, 1) is a normalised colour: zero is the mean one.
    """
    return fill + mask * (pixels - fill)


def masked_views(pixels: Tensor, mask: Tensor, fill: Tensor) -> Tensor:
    """Foreground views, then background views: (2 pairs, 3, size, size)."""
    return torch.cat([masked_view(pixels, mask, fill), masked_view(pixels, 1 - mask, fill)])
