"""The losses of SemPLeS, arXiv 2401.11791, section 3, as plain functions of cosines.

Every argument is a float tensor with one value an (image, present class) pair, shape (pairs,), or (pairs, phrases)
where a class has several prompts. A raw cosine is clamped to [1e-4, 0.9999] before each log. All return the mean.
"""

from typing import Literal

from torch import Tensor

LOWEST, HIGHEST = 1e-4, 0.9999


def attract(cosine: Tensor) -> Tensor:
    """`-log s`: small when the two embeddings agree."""
    return -cosine.clamp(LOWEST, HIGHEST).log().mean()


def repel(cosine: Tensor) -> Tensor:
    """`-log(1 - s)`: small when the two embeddings differ."""
    return -(1 - cosine.clamp(LOWEST, HIGHEST)).log().mean()


def segment_label_loss(foreground: Tensor, background: Tensor, w_bg: float) -> Tensor:
    """Segment-label matching: `-log s(X_fg, t) - w_bg log(1 - s(X_bg, t))`."""
    return attract(foreground) + w_bg * repel(background)


def prompt_loss(background: Tensor, text: Tensor, w_text: float, text_term: Literal["log", "repel"]) -> Tensor:
    """Contrastive prompt learning: `-log s(X_bg, p)`, and the prompt kept away from its class name `s(t, p)`.

    `log` is the published text term, `+ w_text log s(t, p)`; `repel` is `- w_text log(1 - s(t, p))`.
    """
    away = -attract(text) if text_term == "log" else repel(text)
    return attract(background) + w_text * away


def refinement_loss(foreground: Tensor, background: Tensor, prompt: Tensor, w_bg: float, w_prompt: float) -> Tensor:
    """Class-associated semantic refinement: the segment-label loss `- w_prompt log(1 - s(X_fg, p))`."""
    return segment_label_loss(foreground, background, w_bg) + w_prompt * repel(prompt)
