"""One training step of each stage: a batch in, named losses out.

A batch is a dict: `image` RGB in [0, 1] (batch, 3, h, w), `labels` (batch, classes), and the present pairs
`pair_image`, `pair_class`, each (pairs,). With cached features of a frozen backbone it has `features`, and for the
classifier no `image`; with cached embeddings it has `pair_backgrounds` and neither. The losses of the parts of a batch
(`parts`) add up to those of the batch. `learner` is the module that learns and the only one that is saved.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers import DropPath
from torch import Tensor, nn

from semples.models.generators import Maps, MaskGenerator
from semples.models.guide import FinalPeriod, Guide
from semples.models.losses import area, prompt_loss, refinement_loss, segment_label_loss, weighted_mean
from semples.models.masking import masked_view, masked_views
from semples.models.parts import Batch, ClassWeights, labelled_parts
from semples.models.prompts import Bank

CPU_PART = 16  # images or pairs: larger tensors take longer to allocate than to fill

Losses = dict[str, Tensor]
Embeddings = Float[Tensor, "classes width"]
Phrases = Float[Tensor, "classes phrases width"]
Backgrounds = Float[Tensor, "pairs width"]


class LabelTask(nn.Module):
    """Learn from labelled images; `class_weights` are the weights of the pairs by their class."""

    class_weights: Tensor | None

    def __init__(self, class_weights: ClassWeights | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights)

    def parts(self, batch: Batch, count: int, pad: bool = False) -> list[Batch]:
        """Return a batch in at most `count` parts, with the weights of its images and pairs: `labelled_parts`."""
        return labelled_parts(batch, count, self.class_weights, pad)

    def forward(self, batch: Batch) -> Losses:
        """Return the named losses of a part, or of a whole batch that has no weights yet."""
        return self.losses(batch if "image_weight" in batch else self.parts(batch, 1)[0])

    def losses(self, batch: Batch) -> Losses:
        """Return the named losses of a part; `loss` is the one that is minimised."""
        raise NotImplementedError


class GeneratorTask(LabelTask):
    """Train a generator: all of it, or with `head_only` its map head.

    With `drop_path`, stochastic depth acts in the frozen backbone of `head_only` too.
    """

    learner: Any

    def __init__(
        self,
        generator: MaskGenerator,
        head_only: bool = False,
        drop_path: bool = False,
        class_weights: ClassWeights | None = None,
    ) -> None:
        super().__init__(class_weights)
        self.learner, self.head_only, self.drop_path = generator, head_only, drop_path
        if head_only:
            generator.freeze_backbone()

    @property
    def generator(self) -> MaskGenerator:
        return self.learner

    def train(self, mode: bool = True) -> "GeneratorTask":
        """Set the training mode; a frozen backbone stays in evaluation mode and keeps its running statistics."""
        super().train(mode)
        if self.head_only:
            self.generator.eval()
            self.generator.map_head().train(mode)
            for module in self.generator.modules() if self.drop_path else ():
                if isinstance(module, DropPath):
                    module.train(mode)
        return self


class ClassifyTask(GeneratorTask):
    """Multi-label soft-margin loss, summed over the generator's logits (WeakTr)."""

    def losses(self, batch: Batch) -> Losses:
        return {"loss": _classification(_maps(self.learner, batch), batch["labels"], batch["image_weight"])}


class MaskTask(GeneratorTask):
    """slm, and with `prompts` csr: the generator learns from the guide's similarity of its masked images.

    Args:
        texts, prompts: Embeddings of the class names and of the backgrounds.
        w_bg, w_prompt, w_area, w_class: Weights of the loss terms; `w_class` is that of the classifier's loss.
        eps, logit_scale: Added to a map's range in its min-max scaling; `scale` of the losses.
        head_only, drop_path: Those of `GeneratorTask`.
        class_weights: Weights of the pairs by their class.
    """

    texts: Tensor
    prompts: Tensor | None

    def __init__(
        self,
        generator: MaskGenerator,
        guide: Guide,
        texts: Embeddings,
        *,
        w_bg: float,
        eps: float,
        prompts: Phrases | None = None,
        w_prompt: float = 0.0,
        head_only: bool = True,
        drop_path: bool = False,
        w_area: float = 0.0,
        w_class: float = 0.0,
        logit_scale: float = 0.0,
        class_weights: ClassWeights | None = None,
    ) -> None:
        super().__init__(generator, head_only, drop_path, class_weights)
        self.guide = guide
        self.register_buffer("texts", texts)
        self.register_buffer("prompts", prompts)
        self.w_bg, self.w_prompt, self.eps = w_bg, w_prompt, eps
        self.w_area, self.w_class, self.logit_scale = w_area, w_class, logit_scale

    def losses(self, batch: Batch) -> Losses:
        return self.mask_losses(batch, self.prompts)[0]

    def mask_losses(self, batch: Batch, prompts: Phrases | None) -> tuple[Losses, Backgrounds]:
        """Return the generator's named losses and the embeddings of the backgrounds that its masks leave."""
        pair_image, pair_class = batch["pair_image"], batch["pair_class"]
        maps = _maps(self.generator, batch)
        mask = self.guide.masks(maps.cams[pair_image, pair_class], self.eps)
        pixels = self.guide.normalise(batch["image"])[pair_image]
        front, back = self.guide.encode_image(masked_views(pixels, mask, self.guide.fill)).chunk(2)
        text, weight = self.texts[pair_class], batch["pair_weight"]
        foreground, background = (front * text).sum(1), (back * text).sum(1)
        logged = {"s_fg": foreground, "s_bg": background, "area": mask}
        if prompts is None:
            loss = segment_label_loss(foreground, background, self.w_bg, weight, self.logit_scale)
        else:
            prompt = (front.unsqueeze(1) * prompts[pair_class]).sum(2)  # pairs, phrases
            loss = refinement_loss(foreground, background, prompt, self.w_bg, self.w_prompt, weight, self.logit_scale)
            logged["s_prompt"] = prompt
        if self.w_area:
            loss = loss + self.w_area * area(mask, weight)
        if self.w_class:
            loss = loss + self.w_class * _classification(maps, batch["labels"], batch["image_weight"])
        return _with_means(loss, logged, batch), back


class PromptTask(LabelTask):
    """cpl: the prompts learn from the backgrounds that the frozen generator leaves.

    Without a generator the batch has the maps of the pairs, `pair_maps` (pairs, h, w). A batch with the embeddings of
    the backgrounds, `pair_backgrounds`, needs neither maps nor images. The arguments are those of `MaskTask`,
    `final_period` of `Guide.encode_prompts`, and as `terms` `w_text` and `text_term` of `prompt_loss`.
    """

    texts: Tensor

    def __init__(
        self,
        bank: Bank,
        generator: MaskGenerator | None,
        guide: Guide,
        texts: Embeddings,
        *,
        eps: float,
        final_period: FinalPeriod = "end_of_word",
        class_weights: ClassWeights | None = None,
        **terms: Any,
    ) -> None:
        super().__init__(class_weights)
        self.learner, self.generator, self.guide = bank, generator, guide
        if generator is not None:
            generator.requires_grad_(False)
        self.register_buffer("texts", texts)
        self.eps, self.final_period, self.terms = eps, final_period, terms

    def train(self, mode: bool = True) -> "PromptTask":
        """Set the training mode; the generator stays in evaluation mode."""
        super().train(mode)
        if self.generator is not None:
            self.generator.eval()
        return self

    def losses(self, batch: Batch) -> Losses:
        back = batch["pair_backgrounds"] if "pair_backgrounds" in batch else self.backgrounds(batch)
        prompts = self.learner.encode(self.guide, self.final_period)
        return prompt_losses(prompts, back, self.texts, batch, **self.terms)

    @torch.no_grad()
    def backgrounds(self, batch: Batch) -> Backgrounds:
        """Return the embeddings of the backgrounds that the masks of the pairs leave."""
        pixels, maps = self.guide.normalise(batch["image"]), self._pair_maps(batch)
        backgrounds = []
        for image, part in zip(_parts(batch["pair_image"]), _parts(maps), strict=True):
            view = masked_view(pixels[image], 1 - self.guide.masks(part, self.eps), self.guide.fill)
            backgrounds.append(self.guide.encode_image(view))
        return torch.cat(backgrounds)

    def _pair_maps(self, batch: Batch) -> Float[Tensor, "pairs h w"]:
        if self.generator is None:
            return batch["pair_maps"]
        name = "features" if "features" in batch else "image"
        maps = torch.cat([_maps(self.generator, {name: part}).cams for part in _parts(batch[name])])
        return maps[batch["pair_image"], batch["pair_class"]]


class JointTask(MaskTask):
    """joint: one forward pass gives csr's loss for the generator and cpl's loss for the prompts.

    Neither learns from the other's loss: the generator sees the prompts and the prompts the backgrounds as constants.
    The arguments are those of `MaskTask`, and of `PromptTask`: `bank`, `final_period` and `prompt_terms`, a dict with
    `w_text` and `text_term`.
    """

    def __init__(self, generator: MaskGenerator, bank: Bank, guide: Guide, texts: Embeddings, **others) -> None:
        prompt_terms, final_period = others.pop("prompt_terms"), others.pop("final_period")
        super().__init__(generator, guide, texts, **others)
        self.prompt_terms, self.final_period = prompt_terms, final_period
        self.learner = nn.ModuleDict({"generator": generator, "prompts": bank})

    @property
    def generator(self) -> MaskGenerator:
        return self.learner["generator"]

    def losses(self, batch: Batch) -> Losses:
        prompts = self.learner["prompts"].encode(self.guide, self.final_period)  # classes, width
        masks, back = self.mask_losses(batch, prompts.detach().unsqueeze(1))
        learned = prompt_losses(prompts, back.detach(), self.texts, batch, **self.prompt_terms)
        return {**masks, "loss": masks["loss"] + learned["loss"], "s_text": learned["s_text"]}


def prompt_losses(prompts: Embeddings, back: Backgrounds, texts: Embeddings, batch: Batch, **terms) -> Losses:
    """Return the named losses of cpl for the pairs of a part; `terms` are `w_text` and `text_term` of `prompt_loss`."""
    background = (back * prompts[batch["pair_class"]]).sum(1)
    text = (texts * prompts).sum(1)[batch["pair_class"]]
    loss = prompt_loss(background, text, weight=batch["pair_weight"], **terms)
    return _with_means(loss, {"s_bg": background, "s_text": text}, batch)


def _parts(values: Tensor) -> tuple[Tensor, ...]:
    """Return the parts of a batch that pass frozen networks one after another; more than one on a CPU alone."""
    return values.split(CPU_PART) if values.device.type == "cpu" else (values,)


def _maps(generator: Any, batch: Batch) -> Maps:
    """Return a generator's maps of the images of a batch, or of their features where the batch has these."""
    return generator.maps_of(batch["features"]) if "features" in batch else generator(batch["image"])


def _with_means(loss: Tensor, logged: dict[str, Tensor], batch: Batch) -> Losses:
    """Return the loss and the means of the logged values, in which all pairs count alike."""
    means = {name: weighted_mean(values.detach(), batch["pair_share"]) for name, values in logged.items()}
    return {"loss": loss, **means}


def _classification(maps: Maps, labels: Tensor, weight: Tensor | None = None) -> Float[Tensor, ""]:
    each = [F.multilabel_soft_margin_loss(logits.float(), labels, reduction="none") for logits in maps.logits]
    return torch.stack([weighted_mean(images, weight) for images in each]).sum()
