"""One training step of each stage: a batch in, named losses out.

A batch is a dict: `image` RGB in [0, 1] (batch, 3, h, w), `labels` (batch, classes), and the present pairs
`pair_image`, `pair_class`, each (pairs,). `learner` is the module that learns, and all that is saved.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semples.models.generators import MaskGenerator
from semples.models.guide import Guide
from semples.models.losses import prompt_loss, refinement_loss, segment_label_loss
from semples.models.masking import masked_views, pair_masks
from semples.models.prompts import PromptBank


class ClassifyTask(nn.Module):
    """Multi-label soft-margin loss, summed over the generator's logits (WeakTr)."""

    def __init__(self, generator: MaskGenerator) -> None:
        super().__init__()
        self.learner = generator

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        maps = self.learner(batch["image"])
        terms = [F.multilabel_soft_margin_loss(logits.float(), batch["labels"]) for logits in maps.logits]
        return {"loss": torch.stack(terms).sum()}


class MaskTask(nn.Module):
    """slm, and with `prompts` csr: the generator learns, the guide judges its masks.

    `texts` (classes, width) are the class names' embeddings; `prompts` (classes, phrases, width) the backgrounds'.
    """

    def __init__(
        self,
        generator: MaskGenerator,
        guide: Guide,
        texts: Tensor,
        *,
        w_bg: float,
        eps: float,
        prompts: Tensor | None = None,
        w_prompt: float = 0.0,
        head_only: bool = True,
    ) -> None:
        super().__init__()
        self.learner, self.guide = generator, guide
        self.register_buffer("texts", texts)
        self.register_buffer("prompts", prompts)
        self.w_bg, self.w_prompt, self.eps, self.head_only = w_bg, w_prompt, eps, head_only
        if head_only:
            generator.freeze_backbone()

    def train(self, mode: bool = True) -> "MaskTask":
        """A frozen backbone stays in evaluation mode, so that its running statistics stay too."""
        super().train(mode)
        if self.head_only:
            self.learner.eval()
            self.learner.map_head().train(mode)
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        image, klass = batch["pair_image"], batch["pair_class"]
        maps = self.learner(batch["image"]).cams
        mask = pair_masks(maps, image, klass, self.guide.image_size, self.eps)  # pairs, 1, size, size
        pixels = self.guide.normalise(batch["image"])[image]
        front, back = self.guide.encode_image(masked_views(pixels, mask)).chunk(2)
        text = self.texts[klass]
        foreground, background = (front * text).sum(1), (back * text).sum(1)
        named = {
            "s_fg": foreground.mean().detach(),
            "s_bg": background.mean().detach(),
            "area": mask.mean().detach(),
        }
        if self.prompts is None:
            return {"loss": segment_label_loss(foreground, background, self.w_bg), **named}
        prompt = torch.einsum("nd,npd->np", front, self.prompts[klass])
        loss = refinement_loss(foreground, background, prompt, self.w_bg, self.w_prompt)
        return {"loss": loss, "s_prompt": prompt.mean().detach(), **named}


class PromptTask(nn.Module):
    """cpl: the prompts learn, from the backgrounds that the frozen generator leaves."""

    def __init__(
        self,
        bank: PromptBank,
        generator: MaskGenerator,
        guide: Guide,
        texts: Tensor,
        *,
        w_text: float,
        text_term: str,
        eps: float,
    ) -> None:
        super().__init__()
        self.learner, self.generator, self.guide = bank, generator.requires_grad_(False), guide
        self.register_buffer("texts", texts)
        self.w_text, self.text_term, self.eps = w_text, text_term, eps

    def train(self, mode: bool = True) -> "PromptTask":
        """The generator stays in evaluation mode."""
        super().train(mode)
        self.generator.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        image, klass = batch["pair_image"], batch["pair_class"]
        with torch.no_grad():
            maps = self.generator(batch["image"]).cams
            mask = pair_masks(maps, image, klass, self.guide.image_size, self.eps)
            pixels = self.guide.normalise(batch["image"])[image]
            back = self.guide.encode_image((1 - mask) * pixels)
        prompts = self.guide.encode_prompts(self.learner.vectors)  # classes, width
        background = (back * prompts[klass]).sum(1)
        text = (self.texts * prompts).sum(1)[klass]
        loss = prompt_loss(background, text, self.w_text, self.text_term)
        return {"loss": loss, "s_bg": background.mean().detach(), "s_text": text.mean().detach()}


class SegmentTask(nn.Module):
    """Cross-entropy on pseudo masks, void (255) left out; a batch of nothing but void costs zero.

    A batch has `image` (batch, 3, h, w) in [0, 1] and `mask` int64 (batch, h, w).
    """

    def __init__(self, network: nn.Module, ignore: int = 255) -> None:
        super().__init__()
        self.learner, self.ignore = network, ignore

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        scores = self.learner(batch["image"]).float()
        total = F.cross_entropy(scores, batch["mask"], ignore_index=self.ignore, reduction="sum")
        pixels = (batch["mask"] != self.ignore).sum()
        return {"loss": total / pixels.clamp(min=1)}
