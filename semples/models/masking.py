"""From maps to masked images."""

import torch
import torch.nn.functional as F
from torch import Tensor


def present_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Image and class index of every (image, present class) pair of `labels` (batch, classes), each (pairs,)."""
    image, klass = labels.nonzero(as_tuple=True)
    return image, klass


def min_max(maps: Tensor, eps: float) -> Tensor:
    """`(m - min) / (max - min + eps)` of each map: (..., h, w) in, (..., h, w) in [0, 1) out."""
    low = maps.amin(dim=(-2, -1), keepdim=True)
    high = maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low + eps)


def pair_masks(maps: Tensor, image: Tensor, klass: Tensor, size: int, eps: float) -> Tensor:
    """Maps (batch, classes, h, w) of the pairs, bilinear to (pairs, 1, size, size) and scaled to [0, 1)."""
    chosen = maps[image, klass].unsqueeze(1)
    return min_max(F.interpolate(chosen, size=(size, size), mode="bilinear", align_corners=False), eps)


def masked_views(pixels: Tensor, mask: Tensor) -> Tensor:
    """Foreground views, then background views: (2 pairs, 3, size, size).

    `pixels` (pairs, 3, size, size) are normalised, so that zero is the mean colour that fills what is masked out.
    """
    return torch.cat([mask * pixels, (1 - mask) * pixels])
