"""The prompt banks."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from semples.models.guide import FinalPeriod, Guide

Words = Float[Tensor, "words width"]


class PromptBank(nn.Module):
    """One learned prompt per class: `vectors` (classes, length, token width), uniform in [0, 1) at the start.

    Args:
        classes, length, width: Number of classes, tokens of a prompt, and components of a token vector.
        initial: Token vectors that every prompt starts with, repeated or cut to the length.
        shared: All classes share one prompt; `vectors` is (1, length, token width).
    """

    def __init__(
        self, classes: int, length: int, width: int, initial: Words | None = None, shared: bool = False
    ) -> None:
        super().__init__()
        self.classes = classes
        vectors = torch.rand(1 if shared else classes, length, width)
        if initial is not None:
            vectors[:] = initial[torch.arange(length) % len(initial)]
        self.vectors = nn.Parameter(vectors)

    def encode(self, guide: Guide, final_period: FinalPeriod) -> Float[Tensor, "classes width"]:
        """Return the L2-normalised embeddings of the prompts."""
        return guide.encode_prompts(self.vectors, final_period).expand(self.classes, -1).contiguous()


class EmbeddingBank(nn.Module):
    """One learned embedding per class, without a text encoder: `vectors` (classes, width), random at the start.

    Args:
        classes, width: Number of classes, and components of the guide's embeddings.
        shared: All classes share one embedding; `vectors` is (1, width).
    """

    def __init__(self, classes: int, width: int, shared: bool = False) -> None:
        super().__init__()
        self.classes = classes
        self.vectors = nn.Parameter(F.normalize(torch.randn(1 if shared else classes, width), dim=-1))

    def encode(self, _guide: Guide, _final_period: FinalPeriod) -> Float[Tensor, "classes width"]:
        """Return the vectors, L2-normalised."""
        return F.normalize(self.vectors, dim=-1).expand(self.classes, -1).contiguous()


Bank = PromptBank | EmbeddingBank


def word_cosines(prompts: Float[Tensor, "classes width"], words: Words) -> tuple[Tensor, Tensor]:
    """Return cosines and lifts (classes, words) of every word with every prompt; both inputs are L2-normalised.

    The lift is the cosine less its mean over the classes: a word near to all prompts has a high cosine and no lift.
    """
    cosine = prompts @ words.T
    return cosine, cosine - cosine.mean(dim=0)
