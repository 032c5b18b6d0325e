"""A frozen vision transformer of timm, whose features of several blocks a small head turns into class maps.

The idea is that of WeCLIP (arXiv 2406.11189), whose backbone, a CLIP, never learns, and whose decoder reads all blocks.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float16
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from semples.errors import SemplesError
from semples.models.generators.base import Maps, MaskGenerator, any_size_vit, backbone_weights, pool_scores

LAST_BLOCKS = 4  # that the head reads, as the multi-layer segmentation head of DINOv2 (arXiv 2304.07193)
HEAD_WIDTH = 256

Features = Float16[Tensor, "batch channels rows columns"]


class FrozenVit(MaskGenerator):
    """Frozen timm ViT of any patch size, and a head: a 1x1 projection of each block, their sum, GELU, 3x3 class maps.

    The 3x3 convolution is WeakTr's patch CAM; maps are the scores' ReLU, and the class logits the scores pooled by
    `pool_scores`. Images of any size are resized to the nearest whole number of patches, so that the grid of a map
    covers the image exactly; the position embedding is resized with them.

    Args:
        layers: Blocks that the head reads, counted from 1; empty for the last four.
    """

    vit: Any

    def __init__(self, classes: int, backbone: str, layers: Sequence[int] = (), sharpness: float = 0.0) -> None:
        vit = any_size_vit(backbone, drop_path=0.0)
        if not issubclass(type(vit), VisionTransformer | Eva):
            raise TypeError(f"{type(vit).__name__} is no plain vision transformer")
        super().__init__(vit.default_cfg["mean"], vit.default_cfg["std"])
        depth = len(vit.blocks)
        self.layers = sorted(layers) or list(range(max(1, depth - LAST_BLOCKS + 1), depth + 1))
        if self.layers[-1] > depth:
            expected = f"1 to {depth}, the blocks of {backbone}"
            raise SemplesError("generator.layers", str(self.layers[-1]), expected, "correct `generator.layers`")
        self.vit, self.sharpness = vit.requires_grad_(False), sharpness
        project = nn.Conv2d(len(self.layers) * vit.embed_dim, HEAD_WIDTH, 1)  # the sum over blocks is inside
        self.token_head = nn.Sequential(project, nn.GELU(), nn.Conv2d(HEAD_WIDTH, classes, 3, padding=1))

    def map_head(self) -> nn.ModuleList:
        return nn.ModuleList([self.token_head])

    def converted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return tensors if "token_head.0.weight" in tensors else backbone_weights(tensors, "vit")

    def train(self, mode: bool = True) -> "FrozenVit":
        """Set the training mode of the head; the backbone stays in evaluation mode."""
        super().train(mode)
        self.vit.eval()
        return self

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Maps:
        return self.maps_of(self.features(images))

    def maps_of(self, features: Features) -> Maps:
        """Return the maps of what `features` gave."""
        scores = self.token_head(features.float())
        return Maps(scores.relu(), (pool_scores(scores, self.sharpness),))

    def features_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the number of channels, rows and columns of the features of images of a size in pixels."""
        patch = self.vit.patch_embed.feat_ratio(as_scalar=False)
        rows, columns = (max(1, round(side / step)) for side, step in zip((height, width), patch, strict=True))
        return len(self.layers) * self.vit.embed_dim, rows, columns

    @torch.no_grad()
    def features(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Return the patch tokens of the blocks `layers`, one block's channels after the other's.

        Every token has mean 0 and variance 1. Values are float16, also where they are used at once: then features that
        were stored are the same.
        """
        _, *grid = self.features_shape(*images.shape[-2:])
        patch = self.vit.patch_embed.feat_ratio(as_scalar=False)
        sides = [count * step for count, step in zip(grid, patch, strict=True)]
        pixels = (images - self.mean) / self.std
        if sides != list(images.shape[-2:]):
            pixels = F.interpolate(pixels, size=sides, mode="bicubic", antialias=True)
        blocks = [number - 1 for number in self.layers]
        options = {"intermediates_only": True, "stop_early": True, "output_fmt": "NLC"}
        tokens = self.vit.forward_intermediates(pixels, blocks, **options)  # each batch, patches, width
        joined = torch.cat([F.layer_norm(block.float(), block.shape[-1:]) for block in tokens], dim=2)
        return joined.transpose(1, 2).unflatten(2, grid).half()
