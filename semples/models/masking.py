"""Masks made from maps, and images masked by them."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Pixels = Float[Tensor, "pairs 3 h w"]
Mask = Float[Tensor, "pairs 1 h w"]
Colour = Float[Tensor, "3 1 1"]


def min_max(maps: Float[Tensor, "*batch h w"], eps: float) -> Float[Tensor, "*batch h w"]:
    """Return `(m - min) / (max - min + eps)` of each map, in [0, 1)."""
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low + eps)


def scaled_masks(
    maps: Float[Tensor, "pairs h w"], size: int, eps: float, align_corners: bool = False
) -> Float[Tensor, "pairs 1 {size} {size}"]:
    """Resize maps bilinearly to `size` pixels a side and scale each to [0, 1)."""
    sides = (size, size)
    resized = F.interpolate(maps.float().unsqueeze(1), size=sides, mode="bilinear", align_corners=align_corners)
    return min_max(resized, eps)


def masked_view(pixels: Pixels, mask: Mask, fill: Colour) -> Pixels:
    """Return normalised pixels where the mask is 1 and the normalised colour `fill` where it is 0; linear between."""
    return fill + mask * (pixels - fill)


def masked_views(pixels: Pixels, mask: Mask, fill: Colour) -> Float[Tensor, "two_pairs 3 h w"]:
    """Return the foreground views of all pairs, then their background views."""
    return torch.cat([masked_view(pixels, mask, fill), masked_view(pixels, 1 - mask, fill)])
