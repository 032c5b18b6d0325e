"""One training step of a segmentation network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semples.models import distributed
from semples.models.segmenters import Segmenter

MIN_WEIGHT = 1e-6


class SegmentTask(nn.Module):
    """Cross-entropy on pseudo masks, void left out; a batch of nothing but void costs zero.

    A batch has `image` (batch, 3, h, w) in [0, 1], `mask` int64 (batch, h, w), and `confidence` (batch, h, w) in
    [0, 1] where pixels weigh by it. `class_weights` (classes + 1,) weigh the classes, background first. The loss is
    the weighted mean over pixels. A batch of one is learned with its mirror image: batch normalisation needs two.
    """

    def __init__(self, network: Segmenter, class_weights: Tensor | None = None, ignore: int = 255) -> None:
        super().__init__()
        self.learner, self.ignore = network, ignore
        self.register_buffer("class_weights", class_weights)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if len(batch["image"]) == 1 and self.training:
            batch = {key: torch.cat([value, value.flip(-1)]) for key, value in batch.items()}
        image, mask = batch["image"], batch["mask"]
        own = self.learner.own_loss(image, mask, self.ignore)
        if own is not None:
            return {"loss": own}
        cost = F.cross_entropy(self.learner(image).float(), mask, ignore_index=self.ignore, reduction="none")
        weight = self._weights(batch)
        return {"loss": (weight * cost).sum() / distributed.mean_count(weight.sum()).clamp(min=MIN_WEIGHT)}

    def _weights(self, batch: dict[str, Tensor]) -> Tensor:
        """What every pixel counts, float32 (batch, h, w); nothing where it is void."""
        valid = batch["mask"] != self.ignore
        weight = valid.float()
        if self.class_weights is not None:
            weight = weight * self.class_weights[batch["mask"].where(valid, 0)]
        if "confidence" in batch:
            weight = weight * batch["confidence"]
        return weight


def median_frequency_weights(pixels: Tensor) -> Tensor:
    """Class weights (classes,) from counts of pixels: median frequency over frequency (arXiv 1411.4734, section 6).

    A class without pixels, which no loss meets, weighs 1. The median is that of the classes that occur.
    """
    pixels = pixels.double()
    weights = pixels[pixels > 0].median() / pixels.clamp(min=1)
    return weights.where(pixels > 0, 1).float()
