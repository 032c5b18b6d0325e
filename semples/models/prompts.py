"""The prompt bank."""

import torch
from torch import Tensor, nn

from semples.models.guide import Guide


class PromptBank(nn.Module):
    """One learned prompt a class: `vectors` (classes, length, token width), uniform in [0, 1) at the start.

    With `initial` token vectors (tokens, token width) every prompt starts as these, repeated or cut to the length.
    With `shared` all classes have one prompt, `vectors` (1, length, token width).
    """

    def __init__(
        self, classes: int, length: int, width: int, initial: Tensor | None = None, shared: bool = False
    ) -> None:
        super().__init__()
        self.classes = classes
        vectors = torch.rand(1 if shared else classes, length, width)
        if initial is not None:
            vectors[:] = initial[torch.arange(length) % len(initial)]
        self.vectors = nn.Parameter(vectors)

    def encode(self, guide: Guide, final_period: str) -> Tensor:
        """Embeddings (classes, width) of the prompts, L2-normalised."""
        return guide.encode_prompts(self.vectors, final_period).expand(self.classes, -1).contiguous()


def word_cosines(prompts: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """How near every word is to every prompt, and how much nearer than to the other classes' prompts.

    `prompts` (classes, width) and `words` (words, width) are L2-normalised. Returns cosines and lifts, both
    (classes, words); the lift is the cosine less its mean over the classes. Words that go with everything
    have a high cosine and no lift.
    """
    cosine = prompts @ words.T
    return cosine, cosine - cosine.mean(dim=0)
