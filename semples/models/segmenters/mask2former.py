"""Mask2Former on a Swin (arXiv 2112.01527), by transformers: pixels are classified by masks that have classes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semples.errors import SemplesError

# width, blocks, heads and window of each size, and the Hugging Face model that has ImageNet weights of it
SWIN = {
    "swin-tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24), 7, "microsoft/swin-tiny-patch4-window7-224"),
    "swin-small": (96, (2, 2, 18, 2), (3, 6, 12, 24), 7, "microsoft/swin-small-patch4-window7-224"),
    "swin-base": (128, (2, 2, 18, 2), (4, 8, 16, 32), 12, "microsoft/swin-base-patch4-window12-384-in22k"),
    "swin-large": (192, (2, 2, 18, 2), (6, 12, 24, 48), 12, "microsoft/swin-large-patch4-window12-384-in22k"),
}
STAGES = ["stage1", "stage2", "stage3", "stage4"]
QUERIES = 100
SMALLEST = 1e-6


class MaskClassifier(nn.Module):
    """Normalised images (batch, 3, h, w) -> logarithms of the semantic scores (batch, outputs, h, w).

    The softmax of the logarithms is the scores' share, so that scales and flips are averaged as for other networks.
    """

    def __init__(self, encoder: str, outputs: int, width: int, **smaller) -> None:
        super().__init__()
        transformers = import_transformers()
        embed, depths, heads, window, _ = SWIN[encoder]
        swin = transformers.SwinConfig(
            embed_dim=embed, depths=list(depths), num_heads=list(heads), window_size=window, out_features=STAGES
        )
        config = transformers.Mask2FormerConfig(
            backbone_config=swin,
            num_labels=outputs,
            num_queries=QUERIES,
            **{"hidden_dim": width, "feature_size": width, "mask_feature_size": width, **smaller},
        )
        self.former = transformers.Mask2FormerForUniversalSegmentation(config)
        self.outputs = outputs

    @property
    def encoder(self) -> nn.Module:
        """The Swin."""
        return self.former.model.pixel_level_module.encoder

    def loss(self, images: Tensor, mask: Tensor, ignore: int) -> Tensor:
        """Mask2Former's matched losses on `mask` int64 (batch, h, w); images of nothing but void are left out.

        Elsewhere void counts as outside of every mask.
        """
        kept = (mask != ignore).flatten(1).any(1)
        if not kept.any():
            return 0 * sum(parameter.sum() for parameter in self.parameters())
        targets = [(found, found[found != ignore].unique()) for found in mask[kept]]
        with torch.autocast(images.device.type, enabled=False):  # the matching takes float32 only
            return self.former(
                images[kept].float(),
                mask_labels=[(found == classes[:, None, None]).float() for found, classes in targets],
                class_labels=[classes for _, classes in targets],
            ).loss

    def forward(self, images: Tensor) -> Tensor:
        found = self.former(images)
        classes = found.class_queries_logits.float().softmax(-1)[..., :-1]  # the last one is "no object"
        scores = torch.einsum("bqc,bqhw->bchw", classes, found.masks_queries_logits.float().sigmoid())
        scores = F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return scores.clamp(min=SMALLEST).log()


def import_transformers():
    """The library, which is an optional extra; its matching needs SciPy."""
    try:
        import scipy.optimize  # noqa: F401
        import transformers
    except ImportError as error:
        raise SemplesError(
            "segment.network: mask2former",
            f"no module {error.name!r}",
            "the optional extra `mask2former`",
            "pip install 'semples[mask2former]'",
        ) from error
    return transformers
