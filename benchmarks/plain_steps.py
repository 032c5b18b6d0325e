"""The published training steps of slm, cpl and csr, written anew from their description (docs/choices.md).

Pairs of an image and a present class are masked one at a time in Python loops and stacked afterwards; the
sentences of the pairs and the prompts of the classes go through the text tower in every step; cosines and losses are
computed pair by pair, and a tensor is printed. Networks, losses and arithmetic are those of the package, so that the
values can be compared.
"""

import io

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semples.models.generators import MaskGenerator
from semples.models.guide import Guide
from semples.models.losses import HIGHEST, LOWEST
from semples.models.prompts import PromptBank


class PlainSteps:
    """Losses of a batch, `image` (batch, 3, h, w) and `labels` (batch, classes), by loops.

    `clip` is open_clip's own model, of which the guide has a faster equal; `sentences` name the classes.
    """

    def __init__(
        self,
        generator: MaskGenerator,
        guide: Guide,
        clip: nn.Module,
        sentences: list[str],
        bank: PromptBank,
        weights: dict[str, float],
    ) -> None:
        self.generator, self.guide, self.clip, self.sentences = generator, guide, clip, sentences
        self.bank, self.weights = bank, weights
        self.printed = io.StringIO()

    def slm(self, batch: dict[str, Tensor]) -> Tensor:
        """`-log s(X_fg, t) - w_bg log(1 - s(X_bg, t))`, the mean over the pairs."""
        front, back, klass = self._views(batch, self.weights["eps"])
        texts = self._texts(klass)
        front, back = self._seen(front), self._seen(back)
        terms = [
            -_log(torch.dot(f, t)) - self.weights["w_bg"] * _log_of_rest(torch.dot(b, t))
            for f, b, t in zip(front, back, texts, strict=True)
        ]
        return self._mean(terms)

    def csr(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss of slm `- w_prompt log(1 - s(X_fg, p))`."""
        front, back, klass = self._views(batch, self.weights["eps"])
        texts = self._texts(klass)
        with torch.no_grad():
            prompts = self._prompts(klass)
        front, back = self._seen(front), self._seen(back)
        terms = [
            -_log(torch.dot(f, t))
            - self.weights["w_bg"] * _log_of_rest(torch.dot(b, t))
            - self.weights["w_prompt"] * _log_of_rest(torch.dot(f, p))
            for f, b, t, p in zip(front, back, texts, prompts, strict=True)
        ]
        return self._mean(terms)

    def cpl(self, batch: dict[str, Tensor]) -> Tensor:
        """`-log s(X_bg, p) + w_text log s(t, p)`, the mean over the pairs."""
        with torch.no_grad():
            _, back, klass = self._views(batch, self.weights["eps"])
            back = self._seen(back)
        texts, prompts = self._texts(klass), self._prompts(klass)
        terms = [
            -_log(torch.dot(b, p)) + self.weights["w_text"] * _log(torch.dot(t, p))
            for b, t, p in zip(back, texts, prompts, strict=True)
        ]
        return self._mean(terms)

    def _views(self, batch: dict[str, Tensor], eps: float) -> tuple[Tensor, Tensor, list[int]]:
        """Foregrounds and backgrounds (pairs, 3, size, size), and the class of every pair."""
        maps = self.generator(batch["image"]).cams
        size, fill = self.guide.image_size, self.guide.fill
        fronts, backs, klass = [], [], []
        for i in range(len(maps)):
            pixels = self.guide.normalise(batch["image"][i : i + 1])[0]
            for k in range(maps.shape[1]):
                if batch["labels"][i, k] == 1:
                    one = F.interpolate(maps[i, k].float()[None, None], (size, size), mode="bilinear")[0, 0]
                    mask = (one - one.min()) / (one.max() - one.min() + eps)
                    fronts.append(mask * pixels + (1 - mask) * fill)
                    backs.append((1 - mask) * pixels + mask * fill)
                    klass.append(k)
        return torch.stack(fronts), torch.stack(backs), klass

    def _seen(self, views: Tensor) -> Tensor:
        return F.normalize(self.clip.encode_image(views).float(), dim=-1)

    @torch.no_grad()
    def _texts(self, klass: list[int]) -> Tensor:
        tokens = self.guide.tokenizer([self.sentences[k] for k in klass]).to(self.guide.mean.device)
        return F.normalize(self.clip.encode_text(tokens).float(), dim=-1)

    def _prompts(self, klass: list[int]) -> Tensor:
        """Prompt embeddings of the pairs (pairs, width); every class goes once through the whole context length."""
        vectors = self.bank.vectors
        tokens, first = self.guide._prompt_tokens(vectors.shape[1], "end_of_word")
        clip = self.clip
        embedded = clip.token_embedding(tokens.expand(len(vectors), -1))
        embedded = torch.cat([embedded[:, :first], vectors, embedded[:, first + vectors.shape[1] :]], dim=1)
        hidden = clip.transformer(embedded + clip.positional_embedding, attn_mask=clip.attn_mask)
        end = clip.ln_final(hidden)[:, int(tokens.argmax())]
        return F.normalize((end @ clip.text_projection).float(), dim=-1)[klass]

    def _mean(self, terms: list[Tensor]) -> Tensor:
        loss = torch.stack(terms).mean()
        print(loss, file=self.printed)
        return loss


def _log(cosine: Tensor) -> Tensor:
    return torch.log(torch.clamp(cosine, LOWEST, HIGHEST))


def _log_of_rest(cosine: Tensor) -> Tensor:
    return torch.log(1 - torch.clamp(cosine, LOWEST, HIGHEST))
