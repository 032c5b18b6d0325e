"""The losses of SemPLeS, arXiv 2401.11791, section 3, as plain functions of cosines.

Every argument is a float tensor with one value an (image, present class) pair, shape (pairs,), or (pairs, phrases)
where a class has several prompts. The similarity s is the cosine, clamped to [1e-4, 0.9999], or with a `scale` above 0
sigmoid(scale * cosine), which has a gradient for negative cosines too. All return the mean over pairs, weighted where
`weight` (pairs,) is given; of several data-parallel processes, see semples.models.distributed.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from semples.models import distributed

LOWEST, HIGHEST = 1e-4, 0.9999


def attract(cosine: Tensor, weight: Tensor | None = None, scale: float = 0.0) -> Tensor:
    """`-log s`: small when the two embeddings agree."""
    return _mean(F.softplus(-scale * cosine) if scale else -cosine.clamp(LOWEST, HIGHEST).log(), weight)


def repel(cosine: Tensor, weight: Tensor | None = None, scale: float = 0.0) -> Tensor:
    """`-log(1 - s)`: small when the two embeddings differ."""
    return _mean(F.softplus(scale * cosine) if scale else -(1 - cosine.clamp(LOWEST, HIGHEST)).log(), weight)


def segment_label_loss(
    foreground: Tensor, background: Tensor, w_bg: float, weight: Tensor | None = None, scale: float = 0.0
) -> Tensor:
    """Segment-label matching: `-log s(X_fg, t) - w_bg log(1 - s(X_bg, t))`."""
    return attract(foreground, weight, scale) + w_bg * repel(background, weight, scale)


def prompt_loss(
    background: Tensor, text: Tensor, w_text: float, text_term: Literal["log", "repel"], weight: Tensor | None = None
) -> Tensor:
    """Contrastive prompt learning: `-log s(X_bg, p)`, and the prompt kept away from its class name `s(t, p)`.

    `log` is the published text term, `+ w_text log s(t, p)`; `repel` is `- w_text log(1 - s(t, p))`.
    """
    away = -attract(text, weight) if text_term == "log" else repel(text, weight)
    return attract(background, weight) + w_text * away


def refinement_loss(
    foreground: Tensor,
    background: Tensor,
    prompt: Tensor,
    w_bg: float,
    w_prompt: float,
    weight: Tensor | None = None,
    scale: float = 0.0,
) -> Tensor:
    """Class-associated semantic refinement: the segment-label loss `- w_prompt log(1 - s(X_fg, p))`."""
    return segment_label_loss(foreground, background, w_bg, weight, scale) + w_prompt * repel(prompt, weight, scale)


def area(mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """The area regulariser of CLIMS (arXiv 2203.02668): mean share of the image that masks (pairs, 1, h, w) cover."""
    return _mean(mask.flatten(1), weight)


def balancing_weights(labels: Tensor) -> Tensor:
    """Class weights (classes,) that make every class of `labels` (images, classes) count alike; a pair's mean is 1."""
    count = labels.sum(dim=0)
    return labels.sum() / ((count > 0).sum() * count.clamp(min=1))


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return distributed.global_mean_share(values)
    values = values.flatten(1).mean(dim=1) if values.ndim > 1 else values
    return torch.dot(values, weight) / distributed.mean_count(weight.sum())
