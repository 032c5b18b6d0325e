"""The losses of SemPLeS (arXiv 2401.11791, section 3) as plain functions of cosines.

Cosines have one value per (image, present class) pair, or per pair and phrase where a class has several prompts. The
similarity s is the cosine clamped to [1e-4, 0.9999]; with a `scale` above 0 it is sigmoid(scale * cosine), which has a
gradient for negative cosines too. All return the sum over pairs weighted by `weight`, or their mean without weights.
The weights of a whole batch add up to 1 (semples.models.parts).
"""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor

LOWEST, HIGHEST = 1e-4, 0.9999
Cosines = Float[Tensor, "pairs ..."]
PairWeights = Float[Tensor, " pairs"]
Loss = Float[Tensor, ""]
TextTerm = Literal["log", "repel"]


def attract(cosine: Cosines, weight: PairWeights | None = None, scale: float = 0.0) -> Loss:
    """Return `-log s`, small when the two embeddings agree."""
    return weighted_mean(F.softplus(-scale * cosine) if scale else -cosine.clamp(LOWEST, HIGHEST).log(), weight)


def repel(cosine: Cosines, weight: PairWeights | None = None, scale: float = 0.0) -> Loss:
    """Return `-log(1 - s)`, small when the two embeddings differ."""
    return weighted_mean(F.softplus(scale * cosine) if scale else -(1 - cosine.clamp(LOWEST, HIGHEST)).log(), weight)


def segment_label_loss(
    foreground: Cosines, background: Cosines, w_bg: float, weight: PairWeights | None = None, scale: float = 0.0
) -> Loss:
    """Return the segment-label matching loss, `-log s(X_fg, t) - w_bg log(1 - s(X_bg, t))`."""
    return attract(foreground, weight, scale) + w_bg * repel(background, weight, scale)


def prompt_loss(
    background: Cosines, text: Cosines, w_text: float, text_term: TextTerm, weight: PairWeights | None = None
) -> Loss:
    """Return the loss of contrastive prompt learning: `-log s(X_bg, p)` and a term that keeps p from its class name t.

    Args:
        background, text: Cosines (X_bg, p) and (t, p).
        w_text: Weight of the text term.
        text_term: `log`, `+ w_text log s(t, p)` as published, or `repel`, `- w_text log(1 - s(t, p))`.
        weight: Weights of the pairs.
    """
    away = -attract(text, weight) if text_term == "log" else repel(text, weight)
    return attract(background, weight) + w_text * away


def refinement_loss(
    foreground: Cosines,
    background: Cosines,
    prompt: Cosines,
    w_bg: float,
    w_prompt: float,
    weight: PairWeights | None = None,
    scale: float = 0.0,
) -> Loss:
    """Return the class-associated semantic refinement: the segment-label loss `- w_prompt log(1 - s(X_fg, p))`."""
    return segment_label_loss(foreground, background, w_bg, weight, scale) + w_prompt * repel(prompt, weight, scale)


def area(mask: Float[Tensor, "pairs 1 h w"], weight: PairWeights | None = None) -> Loss:
    """Return the area regulariser of CLIMS (arXiv 2203.02668), the mean share of the image that the masks cover."""
    return weighted_mean(mask.flatten(1), weight)


def balancing_weights(labels: Num[Tensor, "images classes"]) -> Float[Tensor, " classes"]:
    """Return class weights that make every class count alike; their mean over the pairs of `labels` is 1."""
    count = labels.sum(dim=0)
    return labels.sum() / ((count > 0).sum() * count.clamp(min=1))


def weighted_mean(values: Float[Tensor, "first ..."], weight: Float[Tensor, " first"] | None) -> Loss:
    """Return the sum over the first axis, weighted by `weight`, of the means over all others; without it the mean."""
    if weight is None:
        return values.mean()
    return ((values.flatten(1).mean(dim=1) if values.ndim > 1 else values) * weight).sum()
