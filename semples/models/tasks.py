"""One training step of each stage: a batch in, named losses out.

A batch is a dict: `image` RGB in [0, 1] (batch, 3, h, w), `labels` (batch, classes), and the present pairs
`pair_image`, `pair_class`, each (pairs,). `learner` is the module that learns, and all that is saved.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semples.models import distributed
from semples.models.generators import Maps, MaskGenerator
from semples.models.guide import Guide
from semples.models.losses import area, prompt_loss, refinement_loss, segment_label_loss
from semples.models.masking import masked_view, masked_views, pair_masks, scaled_masks
from semples.models.prompts import PromptBank


class GeneratorTask(nn.Module):
    """A generator learns, whole or, with `head_only`, its map head."""

    def __init__(self, generator: MaskGenerator, head_only: bool) -> None:
        super().__init__()
        self.learner, self.head_only = generator, head_only
        if head_only:
            generator.freeze_backbone()

    @property
    def generator(self) -> MaskGenerator:
        """The generator, which is all that learns."""
        return self.learner

    def train(self, mode: bool = True) -> "GeneratorTask":
        """A frozen backbone stays in evaluation mode, so that its running statistics stay too."""
        super().train(mode)
        if self.head_only:
            self.generator.eval()
            self.generator.map_head().train(mode)
        return self


class ClassifyTask(GeneratorTask):
    """Multi-label soft-margin loss, summed over the generator's logits (WeakTr)."""

    def __init__(self, generator: MaskGenerator, head_only: bool = False) -> None:
        super().__init__(generator, head_only)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": _classification(self.learner(batch["image"]), batch["labels"])}


class MaskTask(GeneratorTask):
    """slm, and with `prompts` csr: the generator learns, the guide judges its masks.

    `texts` (classes, width) are the class names' embeddings; `prompts` (classes, phrases, width) the backgrounds';
    `class_weights` (classes,) weigh the pairs. `w_area` adds the area of the masks, `w_class` the classifier's loss.
    `logit_scale` is the `scale` of the losses.
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
        w_area: float = 0.0,
        w_class: float = 0.0,
        logit_scale: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__(generator, head_only)
        self.guide = guide
        self.register_buffer("texts", texts)
        self.register_buffer("prompts", prompts)
        self.register_buffer("class_weights", class_weights)
        self.w_bg, self.w_prompt, self.eps = w_bg, w_prompt, eps
        self.w_area, self.w_class, self.logit_scale = w_area, w_class, logit_scale

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.mask_losses(batch, self.prompts)[0]

    def mask_losses(self, batch: dict[str, Tensor], prompts: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
        """The generator's named losses, and the embeddings (pairs, width) of the backgrounds it leaves."""
        image, klass = batch["pair_image"], batch["pair_class"]
        maps = self.generator(batch["image"])
        mask = pair_masks(maps.cams, image, klass, self.guide.image_size, self.eps)  # pairs, 1, size, size
        pixels = self.guide.normalise(batch["image"])[image]
        front, back = self.guide.encode_image(masked_views(pixels, mask, self.guide.fill)).chunk(2)
        text, weight = self.texts[klass], _pair_weights(self.class_weights, klass)
        foreground, background = (front * text).sum(1), (back * text).sum(1)
        named = {
            "s_fg": distributed.global_mean_share(foreground),
            "s_bg": distributed.global_mean_share(background),
            "area": distributed.global_mean_share(mask),
        }
        if prompts is None:
            loss = segment_label_loss(foreground, background, self.w_bg, weight, self.logit_scale)
        else:
            prompt = (front.unsqueeze(1) * prompts[klass]).sum(2)  # pairs, phrases
            loss = refinement_loss(foreground, background, prompt, self.w_bg, self.w_prompt, weight, self.logit_scale)
            named["s_prompt"] = distributed.global_mean_share(prompt)
        if self.w_area:
            loss = loss + self.w_area * area(mask, weight)
        if self.w_class:
            loss = loss + self.w_class * _classification(maps, batch["labels"])
        return {"loss": loss, **{name: value.detach() for name, value in named.items()}}, back


class PromptTask(nn.Module):
    """cpl: the prompts learn, from the backgrounds that the frozen generator leaves.

    Without a generator the batch brings the maps of the pairs, `pair_maps` (pairs, h, w).
    """

    def __init__(
        self,
        bank: PromptBank,
        generator: MaskGenerator | None,
        guide: Guide,
        texts: Tensor,
        *,
        w_text: float,
        text_term: str,
        eps: float,
        final_period: str = "end_of_word",
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.learner, self.generator, self.guide = bank, generator, guide
        if generator is not None:
            generator.requires_grad_(False)
        self.register_buffer("texts", texts)
        self.register_buffer("class_weights", class_weights)
        self.w_text, self.text_term, self.eps, self.final_period = w_text, text_term, eps, final_period

    def train(self, mode: bool = True) -> "PromptTask":
        """The generator stays in evaluation mode."""
        super().train(mode)
        if self.generator is not None:
            self.generator.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        image = batch["pair_image"]
        with torch.no_grad():
            pixels = self.guide.normalise(batch["image"])[image]
            back = self.guide.encode_image(masked_view(pixels, 1 - self._masks(batch), self.guide.fill))
        prompts = self.learner.encode(self.guide, self.final_period)  # classes, width
        return prompt_losses(
            prompts, back, self.texts, batch["pair_class"], self.w_text, self.text_term, self.class_weights
        )

    def _masks(self, batch: dict[str, Tensor]) -> Tensor:
        """Masks of the pairs in [0, 1), (pairs, 1, size, size)."""
        if self.generator is None:
            return scaled_masks(batch["pair_maps"], self.guide.image_size, self.eps)
        maps = self.generator(batch["image"]).cams
        return pair_masks(maps, batch["pair_image"], batch["pair_class"], self.guide.image_size, self.eps)


class JointTask(MaskTask):
    """Prompts and generator together: one forward pass gives csr's loss for the generator and cpl's for the prompts.

    Neither learns from the other's loss: the generator sees the prompts as they are, the prompts the backgrounds.
    `prompt_terms` are the arguments `w_text` and `text_term` of the prompts' loss.
    """

    def __init__(self, generator: MaskGenerator, bank: PromptBank, guide: Guide, texts: Tensor, **arguments) -> None:
        terms, self.final_period = arguments.pop("prompt_terms"), arguments.pop("final_period")
        super().__init__(generator, guide, texts, **arguments)
        self.prompt_terms = terms
        self.learner = nn.ModuleDict({"generator": generator, "prompts": bank})

    @property
    def generator(self) -> MaskGenerator:
        """The generator, one of the two that learn."""
        return self.learner["generator"]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        prompts = self.learner["prompts"].encode(self.guide, self.final_period)  # classes, width
        masks, back = self.mask_losses(batch, prompts.detach().unsqueeze(1))
        weights, klass = self.class_weights, batch["pair_class"]
        learned = prompt_losses(prompts, back.detach(), self.texts, klass, **self.prompt_terms, class_weights=weights)
        return {**masks, "loss": masks["loss"] + learned["loss"], "s_text": learned["s_text"]}


def prompt_losses(
    prompts: Tensor,
    back: Tensor,
    texts: Tensor,
    klass: Tensor,
    w_text: float,
    text_term: str,
    class_weights: Tensor | None,
) -> dict[str, Tensor]:
    """The named losses of cpl: `prompts` and `texts` (classes, width), `back` (pairs, width), `klass` (pairs,)."""
    background = (back * prompts[klass]).sum(1)
    text = (texts * prompts).sum(1)[klass]
    loss = prompt_loss(background, text, w_text, text_term, _pair_weights(class_weights, klass))
    return {
        "loss": loss,
        "s_bg": distributed.global_mean_share(background).detach(),
        "s_text": distributed.global_mean_share(text).detach(),
    }


def _classification(maps: Maps, labels: Tensor) -> Tensor:
    each = [F.multilabel_soft_margin_loss(logits.float(), labels, reduction="none") for logits in maps.logits]
    return torch.stack([distributed.global_mean_share(images) for images in each]).sum()


def _pair_weights(class_weights: Tensor | None, klass: Tensor) -> Tensor | None:
    return None if class_weights is None else class_weights[klass]
