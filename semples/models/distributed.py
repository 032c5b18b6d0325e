"""Means over what all data-parallel processes (ranks) hold together.

Ranks hold different numbers of pairs, so the mean of their means would not be the mean over all pairs. Here every rank
divides its own sum by the average of the ranks' counts: the average over ranks, which data parallelism takes of the
gradients and the loop of the losses, then is the mean over everything. In one process: the plain mean and count.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def global_mean_share(values: Tensor) -> Tensor:
    """This rank's share of the mean over all values of all ranks, ()."""
    if _ranks() == 1:
        return values.mean()
    return values.sum() / mean_count(torch.full((), values.numel(), dtype=torch.float32, device=values.device))


def mean_count(count: Tensor) -> Tensor:
    """A count (), averaged over the ranks; without gradient where there are several."""
    if (ranks := _ranks()) == 1:
        return count
    total = count.detach().clone()
    dist.all_reduce(total)
    return total / ranks


def _ranks() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
