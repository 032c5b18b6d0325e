"""A vision transformer with a patch-CAM head, after WeakTr's coarse branch."""

import math
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from semples.models.generators.base import Maps, MaskGenerator


class VitCam(MaskGenerator):
    """timm ViT; a 3x3 convolution over the final patch tokens gives scores, their ReLU the maps.

    The class logits are the scores pooled by `pool_scores`. Images of any size are padded to whole patches, and the
    position embedding is resized bicubically.
    """

    vit: Any

    def __init__(self, classes: int, backbone: str, *, drop_path: float = 0.0, sharpness: float = 0.0) -> None:
        vit = any_size_vit(backbone, drop_path)
        super().__init__(vit.default_cfg["mean"], vit.default_cfg["std"])
        self.vit, self.sharpness = vit, sharpness
        self.patch_cam = nn.Conv2d(vit.embed_dim, classes, 3, padding=1)

    def map_head(self) -> nn.ModuleList:
        return nn.ModuleList([self.patch_cam])

    def converted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights under own names, without the classifier of a timm backbone."""
        if "patch_cam.weight" in tensors:
            return dict(tensors)
        return {f"vit.{name}": value for name, value in tensors.items() if not name.startswith("head.")}

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Maps:
        frozen = not next(self.vit.parameters()).requires_grad
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            tokens = self.vit.forward_features((images - self.mean) / self.std)
        rows, columns = self.vit.patch_embed.dynamic_feat_size(images.shape[-2:])
        patches = tokens[:, self.vit.num_prefix_tokens :]  # batch, rows * columns, width
        grid = patches.transpose(1, 2).unflatten(2, (rows, columns))
        scores = self.patch_cam(grid)
        return Maps(scores.relu(), (pool_scores(scores, self.sharpness),))


def any_size_vit(backbone: str, drop_path: float) -> Any:
    """Return a timm ViT without classifier for images of any size; `drop_path` is its stochastic depth in training."""
    any_size: dict[str, Any] = {"dynamic_img_size": True, "dynamic_img_pad": True}
    return timm.create_model(backbone, num_classes=0, drop_path_rate=drop_path, **any_size)


def pool_scores(
    scores: Float[Tensor, "batch classes rows columns"], sharpness: float
) -> Float[Tensor, "batch classes"]:
    """Return the mean score over patches, or with `sharpness` r > 0 the log-mean-exp, log(mean(exp(r x))) / r.

    With log-mean-exp (Pinheiro and Collobert, arXiv 1411.6228) one strong patch outweighs many weak ones, and maps
    cover less.
    """
    flat = scores.flatten(2)
    if not sharpness:
        return flat.mean(dim=2)
    return (torch.logsumexp(sharpness * flat.float(), dim=2) - math.log(flat.shape[2])) / sharpness
