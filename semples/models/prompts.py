"""The prompt bank."""

import torch
from torch import Tensor, nn


class PromptBank(nn.Module):
    """One learned prompt a class: `vectors` (classes, length, token width), uniform in [0, 1) at the start."""

    def __init__(self, classes: int, length: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.rand(classes, length, width))


def nearest_words(prompts: Tensor, words: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` nearest words of each prompt.

    `prompts` (classes, width) and `words` (words, width) are L2-normalised.
    Returns cosines and word indices, both (classes, count), nearest first.
    """
    return (prompts @ words.T).topk(min(count, len(words)), dim=1)
