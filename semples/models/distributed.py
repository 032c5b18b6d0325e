"""Means over the values of all data-parallel processes (ranks).

Ranks hold different numbers of pairs, so the mean of their means is not the mean over all pairs. Every rank therefore
divides its own sum by the ranks' mean count. Data parallelism averages the gradients over ranks and the loop averages
the losses; that average is the mean over all values. In one process these are the plain mean and count.
"""

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def global_mean_share(values: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Return this rank's share of the mean over all values of all ranks."""
    if _ranks() == 1:
        return values.mean()
    return values.sum() / mean_count(torch.full((), values.numel(), dtype=torch.float32, device=values.device))


def mean_count(count: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Return a count averaged over the ranks, without gradient where there are several."""
    if (ranks := _ranks()) == 1:
        return count
    total = count.detach().clone()
    dist.all_reduce(total)
    return total / ranks


def _ranks() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
