"""One training step of a segmentation network."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn

from semples.models.parts import Batch, mean_weights, split
from semples.models.segmenters import Segmenter

ClassWeights = Float[Tensor, " outputs"]


class SegmentTask(nn.Module):
    """Cross-entropy on pseudo masks, the weighted mean over pixels without void; a batch of void alone costs zero.

    A batch has `image` (batch, 3, h, w) in [0, 1], `mask` int64 (batch, h, w), and optionally `confidence`
    (batch, h, w) in [0, 1], which weighs the pixels. A batch of one is learned together with its mirror image, because
    batch normalisation needs two.

    Args:
        class_weights: Weights of the classes, background first; None weighs all alike.
        ignore: Mask value of void pixels.
    """

    class_weights: Tensor | None

    def __init__(self, network: Segmenter, class_weights: ClassWeights | None = None, ignore: int = 255) -> None:
        super().__init__()
        self.learner, self.ignore = network, ignore
        self.register_buffer("class_weights", class_weights)

    def parts(self, batch: Batch, count: int, pad: bool = False) -> list[Batch]:
        """Return a batch in at most `count` parts, with the weights of its images and pixels; there are no pairs."""
        images = mean_weights(batch["image"].new_ones(len(batch["image"])))
        return split(batch | {"image_weight": images, "pixel_weight": mean_weights(self._weights(batch))}, count)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of a part, or of a whole batch that has no weights yet.

        A network with a loss of its own weighs the pixels, which it counts part by part.
        """
        batch = batch if "pixel_weight" in batch else self.parts(batch, 1)[0]
        if len(batch["image"]) == 1 and self.training:
            weights = {name: batch[name] / 2 for name in ("image_weight", "pixel_weight")}
            batch = {key: torch.cat([value, value.flip(-1)]) for key, value in (batch | weights).items()}
        image, mask = batch["image"], batch["mask"]
        if (own := self.learner.own_loss(image, mask, self.ignore)) is not None:
            return {"loss": own * batch["image_weight"].sum()}
        cost = F.cross_entropy(self.learner(image).float(), mask, ignore_index=self.ignore, reduction="none")
        return {"loss": (batch["pixel_weight"] * cost).sum()}

    def _weights(self, batch: dict[str, Tensor]) -> Float[Tensor, "batch h w"]:
        """Return the weight of every pixel, zero for void."""
        valid = batch["mask"] != self.ignore
        weight = valid.float() * batch.get("confidence", 1)
        return weight if self.class_weights is None else weight * self.class_weights[batch["mask"].where(valid, 0)]


def median_frequency_weights(pixels: Num[Tensor, " classes"]) -> Float[Tensor, " classes"]:
    """Return class weights from pixel counts: median frequency over frequency (arXiv 1411.4734, section 6).

    The median is over the classes that occur. A class without pixels weighs 1; no loss uses its weight.
    """
    pixels = pixels.double()
    return (pixels[pixels > 0].median() / pixels.clamp(min=1)).where(pixels > 0, 1).float()
