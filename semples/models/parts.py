"""Parts of a batch whose losses and gradients add up to those of the whole batch.

Losses are means over images, pairs or pixels. A part holds a share of them, so it carries their weights in the mean
over the whole batch, and its losses are weighted sums.

Data-parallel processes (ranks) hold different numbers of pairs. The weights are therefore divided by the ranks' mean
sum: data parallelism averages the gradients over ranks and the loop averages the losses, and that average is the mean
over all values.
"""

from itertools import accumulate

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

Batch = dict[str, Tensor]
ClassWeights = Float[Tensor, " classes"]
MIN_WEIGHT = 1e-6


def labelled_parts(
    batch: Batch, count: int, class_weights: ClassWeights | None = None, pad: bool = False
) -> list[Batch]:
    """Return a batch of labelled images in at most `count` parts, with the weights of its images and pairs.

    Args:
        batch: `labels`, `image` or `features` or both, `pair_image` and `pair_class` (pairs,), sorted by image; and
            `pair_maps` or `pair_backgrounds`, if any.
        class_weights: Weights of the pairs by their class.
        pad: Add pairs without weight, up to a number of `padded_size`, so that few shapes occur.
    Returns:
        Parts that also have `image_weight` (images,) and `pair_share` (pairs,), equal weights, and `pair_weight`
        (pairs,), those by class.
    """
    labels, pair_class = batch["labels"], batch["pair_class"]
    share = mean_weights(labels.new_ones(len(pair_class)))
    weight = share if class_weights is None else mean_weights(class_weights[pair_class])
    weights = {"image_weight": mean_weights(labels.new_ones(len(labels))), "pair_share": share, "pair_weight": weight}
    parts = split(batch | weights, count)
    return [_padded(part) for part in parts] if pad else parts


def padded_size(pairs: int) -> int:
    """Return the number of pairs to which a part is padded: the next 4, 5, 6 or 7 times a power of two."""
    quarter = 1 << max(0, pairs.bit_length() - 3)
    return -(-pairs // quarter) * quarter


def _padded(part: Batch) -> Batch:
    """Return a part with pairs of weight 0 at its end, of its first image and class 0."""
    missing = padded_size(pairs := len(part["pair_image"])) - pairs
    padding = {name: value.new_zeros(missing, *value.shape[1:]) for name, value in part.items() if name[:5] == "pair_"}
    return part | {name: torch.cat([part[name], zeros]) for name, zeros in padding.items()}


def split(batch: Batch, count: int) -> list[Batch]:
    """Return a batch in at most `count` parts, which have an image or more, and their pairs (values named `pair_...`).

    The number of pairs in each part is read from the device, which waits for it, if there are several parts.
    """
    images = len(batch["labels"] if "labels" in batch else batch["image"])
    if (count := min(count, images)) == 1:
        return [batch]
    sizes = [images // count + (part < images % count) for part in range(count)]
    firsts = [0, *accumulate(sizes)][:-1]
    pairs: list[int] = []
    if "pair_image" in batch:
        part_of_image = torch.arange(count).repeat_interleave(torch.tensor(sizes)).to(batch["pair_image"].device)
        pairs = part_of_image[batch["pair_image"]].bincount(minlength=count).tolist()
    columns = {name: value.split(pairs if name.startswith("pair_") else sizes) for name, value in batch.items()}
    parts = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if pairs:
        return [part | {"pair_image": part["pair_image"] - first} for part, first in zip(parts, firsts, strict=True)]
    return parts


def mean_weights(weights: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return weights divided by their sum averaged over the ranks; all zero if they are."""
    total = weights.detach().sum()
    if (ranks := _ranks()) > 1:
        dist.all_reduce(total)
        total = total / ranks
    return weights / total.clamp(min=MIN_WEIGHT)


def _ranks() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
