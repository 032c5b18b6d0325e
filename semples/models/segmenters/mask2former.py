"""Mask2Former on a Swin (arXiv 2112.01527), by transformers: pixels are classified by masks that have classes."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from semples.models.optional import import_transformers

# width, blocks, heads and window of each size, and the Hugging Face model that has ImageNet weights of it
SWIN = {
    "swin-tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24), 7, "microsoft/swin-tiny-patch4-window7-224"),
    "swin-small": (96, (2, 2, 18, 2), (3, 6, 12, 24), 7, "microsoft/swin-small-patch4-window7-224"),
    "swin-base": (128, (2, 2, 18, 2), (4, 8, 16, 32), 12, "microsoft/swin-base-patch4-window12-384-in22k"),
    "swin-large": (192, (2, 2, 18, 2), (6, 12, 24, 48), 12, "microsoft/swin-large-patch4-window12-384-in22k"),
}
STAGES = ["stage1", "stage2", "stage3", "stage4"]
QUERIES = 100
NEEDED_BY = ("segment.network: mask2former", "mask2former")
MIN_SCORE = 1e-6
Images = Float[Tensor, "batch 3 h w"]


class MaskClassifier(nn.Module):
    """Return the logarithms of the semantic scores, whose softmax is a score's share in the sum over the outputs.

    Scales and flips are then averaged as for the networks that return logits.
    """

    former: Any

    def __init__(self, encoder: str, outputs: int, width: int) -> None:
        super().__init__()
        transformers = import_transformers(*NEEDED_BY)
        embed, depths, heads, window, _ = SWIN[encoder]
        size = {"embed_dim": embed, "depths": list(depths), "num_heads": list(heads), "window_size": window}
        swin = transformers.SwinConfig(**size, out_features=STAGES)
        widths = {"hidden_dim": width, "feature_size": width, "mask_feature_size": width}
        config = transformers.Mask2FormerConfig(backbone_config=swin, num_queries=QUERIES, num_labels=outputs, **widths)
        self.former = transformers.Mask2FormerForUniversalSegmentation(config)

    @property
    def encoder(self) -> nn.Module:
        return self.former.model.pixel_level_module.encoder

    @torch.compiler.disable  # SciPy matches the masks, whose number changes from step to step
    def loss(self, images: Images, mask: Int[Tensor, "batch h w"], ignore: int) -> Float[Tensor, ""]:
        """Return Mask2Former's matched losses; void lies outside of every mask, images of void alone do not count."""
        labelled = (mask != ignore).flatten(1).any(1)
        if not labelled.any():
            return 0 * torch.stack([parameter.sum() for parameter in self.parameters()]).sum()
        classes = [image[image != ignore].unique() for image in mask[labelled]]
        masks = [(image == present[:, None, None]).float() for image, present in zip(mask[labelled], classes)]
        with torch.autocast(images.device.type, enabled=False):  # the matching takes float32 only
            return self.former(images[labelled].float(), mask_labels=masks, class_labels=classes).loss

    def forward(self, images: Images) -> Float[Tensor, "batch outputs h w"]:
        output = self.former(images)
        classes = output.class_queries_logits.float().softmax(-1)[..., :-1]  # the last one is "no object"
        scores = torch.einsum("bqc,bqhw->bchw", classes, output.masks_queries_logits.float().sigmoid())
        scores = F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return scores.clamp(min=MIN_SCORE).log()
