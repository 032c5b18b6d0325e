"""Pixel-adaptive mask refinement (Araslanov and Roth, arXiv 2005.08104): scores spread over like colours."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

EPS = 1e-8


@torch.no_grad()
def pixel_adaptive(
    maps: Float[Tensor, "batch labels h w"],
    images: Float[Tensor, "batch 3 h w"],
    dilations: Sequence[int],
    iterations: int,
    bandwidth: float,
) -> Float[Tensor, "batch labels h w"]:
    """Return maps after steps in which each score becomes a weighted mean of those of its neighbours.

    The weights of a pixel's neighbours are a softmax over -|difference| / (bandwidth * deviation), the mean over the
    colours. The deviation is that of the colour in the neighbourhood, so that a weak edge counts where no other is.

    Args:
        maps: Scores; they stay between the lowest and the highest of each map.
        images: Colours, in any unit.
        dilations: Distances in pixels of the eight neighbours; beyond the border its pixels are repeated.
        bandwidth: In standard deviations (0.1 in the published code, where the paper has the variance itself).
    """
    weights = _weights(images, dilations, bandwidth)
    for _ in range(iterations):
        total = torch.zeros_like(maps)
        for number, neighbour in enumerate(_neighbours(maps, dilations)):
            total.addcmul_(weights[:, number : number + 1], neighbour)
        maps = total
    return maps


def _weights(images: Tensor, dilations: Sequence[int], bandwidth: float) -> Float[Tensor, "batch neighbours h w"]:
    count = 8 * len(dilations)  # one neighbour after the other, as the colours of all take three times the memory
    mean = sum(_neighbours(images, dilations), torch.zeros_like(images)) / count
    variance = sum(((colour - mean) ** 2 for colour in _neighbours(images, dilations)), torch.zeros_like(images))
    scale = -1 / (bandwidth * ((variance / (count - 1)).sqrt() + EPS))
    distances = [((colour - images).abs() * scale).mean(dim=1) for colour in _neighbours(images, dilations)]
    return torch.stack(distances, dim=1).softmax(dim=1)


def _neighbours(planes: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Yield planes (batch, planes, h, w) shifted by each of the eight steps of every dilation, the centre left out."""
    reach, (height, width) = max(dilations), planes.shape[-2:]
    padded = F.pad(planes, (reach,) * 4, mode="replicate")
    for dilation in dilations:
        for down in (-dilation, 0, dilation):
            for right in (-dilation, 0, dilation):
                if down or right:
                    top, left = reach + down, reach + right
                    yield padded[..., top : top + height, left : left + width]
