"""WeakTr (arXiv 2304.01184): a vision transformer with one token per class, whose attention refines its patch CAMs.

Parameters have the names of the released WeakTr checkpoints, which load unchanged.
"""

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from semples.models.checkpointing import checkpointed
from semples.models.generators.base import Maps, MaskGenerator, any_size_vit

Pool = Literal["max", "avg"]
PositionResize = Literal["to_size", "by_factor"]
FEATURE_REDUCTION = 8
# a released COCO checkpoint has 90 columns, one per category id from 1; these ids name no category
UNUSED_COCO_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


class WeakTr(MaskGenerator):
    """timm ViT with one class token per class, a 3x3 patch-CAM head and adaptive attention fusion.

    Maps are the fine CAMs. Logits are those of WeakTr's three losses: class tokens, pooled patch CAMs, pooled fine
    CAMs. As in WeakTr, the fusion sends no gradient into attention and attention features, the third logit trains the
    fusion alone, and the final norm is loaded but not applied.
    """

    patch_embed: Any
    blocks: Any

    def __init__(
        self,
        classes: int,
        backbone: str,
        drop_path: float = 0.0,
        fusion_pool: Pool = "max",
        fusion_reduction: int = 8,
        position_resize: PositionResize = "to_size",
    ) -> None:
        vit = any_size_vit(backbone, drop_path)
        super().__init__(vit.default_cfg["mean"], vit.default_cfg["std"])
        self.position_resize, self.checkpointing = position_resize, False
        self.classes, width, depth, heads = classes, vit.embed_dim, len(vit.blocks), vit.blocks[0].attn.num_heads
        self.patch_embed, self.blocks, self.norm = vit.patch_embed, vit.blocks, vit.norm
        self.cls_token = nn.Parameter(torch.empty(1, classes, width))
        self.pos_embed = nn.Parameter(torch.empty(1, classes + vit.patch_embed.num_patches, width))
        self.head = nn.Conv2d(width, classes, 3, padding=1)
        self.adaptive_attention_fusion = AttentionFusion(depth, heads, width // heads, fusion_pool, fusion_reduction)
        self.load_state_dict(self.converted(vit.state_dict()), strict=False)

    def map_head(self) -> nn.ModuleList:
        return nn.ModuleList([self.head, self.adaptive_attention_fusion])

    def set_checkpointing(self, enable: bool) -> None:
        self.checkpointing = enable

    def converted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights under own names; a single class token and its position are copied to all classes.

        Of a released COCO checkpoint with 90 columns, the 80 with a category are taken, in the order of their ids.
        """
        if not any(name.startswith("adaptive_attention_fusion.") for name in tensors):
            state = {name: value for name, value in tensors.items() if not name.startswith(("head.", "head_dist."))}
            state["cls_token"] = state["cls_token"].expand(-1, self.classes, -1)
            first, patches = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
            return {**state, "pos_embed": torch.cat([first.expand(-1, self.classes, -1), patches], dim=1)}
        if self.classes == 80 and tensors["cls_token"].shape[1] == 90:
            return _without_unused_columns(tensors)
        return tensors

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Maps:
        frozen = not self.cls_token.requires_grad
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            tokens, pooled, attended = self._features((images - self.mean) / self.std)
        rows, columns = self.patch_embed.dynamic_feat_size(images.shape[-2:])
        named, patches = tokens.split([self.classes, rows * columns], dim=1)
        scores = self.head(patches.transpose(1, 2).unflatten(2, (rows, columns))).flatten(2)  # b, classes, patches
        weights = self.adaptive_attention_fusion(pooled)  # batch, depth, heads
        attention = _weighted_mean(weights, attended, self.classes)  # batch, tokens, patches
        cross, affinity = attention.split([self.classes, rows * columns], dim=1)
        fine = (cross * scores.relu()) @ affinity.transpose(1, 2)  # batch, classes, patches
        # the mean of (affinity @ coarse) over patches, with the patch CAMs held fixed
        fine_logits = (cross * scores.detach().relu() * affinity.mean(dim=1, keepdim=True)).sum(dim=2)
        return Maps(fine.unflatten(2, (rows, columns)), (named.mean(dim=2), scores.mean(dim=2), fine_logits))

    def _features(self, pixels: Tensor) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
        """Return the final tokens (batch, classes + patches, width) and, without gradient, from every block: the pooled
        attention output, (batch, depth, width), and queries and keys, each (batch, heads, tokens, head width)."""
        grid = self.patch_embed(pixels)  # batch, rows, columns, width
        tokens = torch.cat([self.cls_token.expand(len(grid), -1, -1), grid.flatten(1, 2)], dim=1)
        tokens = tokens + self._positions(*grid.shape[1:3])
        pooled, attended = [], []
        for block in self.blocks:
            call = partial(checkpointed, _through) if self.checkpointing else _through
            tokens, output, query, key = call(block, tokens)
            pooled.append(self.adaptive_attention_fusion.pool_tokens(output))
            attended.append((query, key))
        return tokens, torch.stack(pooled, dim=1), attended

    def _positions(self, rows: int, columns: int) -> Float[Tensor, "1 tokens width"]:
        """Return the position embedding for a grid of patches, resized bicubically to it or by a factor.

        The factor (patches + 0.1) / (patches in training) is that of DINO, which the published code uses. Positions
        then lie up to a tenth of a patch further apart than the grid's.
        """
        old = tuple(self.patch_embed.grid_size)
        if self.position_resize == "to_size" or (rows, columns) == old:
            return resample_abs_pos_embed(self.pos_embed, [rows, columns], list(old), self.classes, antialias=False)
        classes, patches = self.pos_embed.split([self.classes, old[0] * old[1]], dim=1)
        factor = ((rows + 0.1) / old[0], (columns + 0.1) / old[1])
        planes = F.interpolate(patches.transpose(1, 2).unflatten(2, old), scale_factor=factor, mode="bicubic")
        return torch.cat([classes, planes.flatten(2).transpose(1, 2)], dim=1)


class AttentionFusion(nn.Module):
    """Weigh every attention map by a number in (0, 1), one per head of every block, from its attention output."""

    def __init__(self, depth: int, heads: int, width: int, pool: Pool, reduction: int) -> None:
        super().__init__()
        self.heads, self.pool = heads, pool
        inner, maps = width // FEATURE_REDUCTION, depth * heads
        self.attn_feat_ffn = nn.Sequential(nn.Linear(width, inner), nn.Linear(inner, 1))
        down, up = nn.Linear(maps, maps // reduction, bias=False), nn.Linear(maps // reduction, maps, bias=False)
        self.attn_head_ffn = nn.Sequential(down, nn.ReLU(), up, nn.Sigmoid())

    def pool_tokens(self, output: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch width"]:
        return output.amax(dim=1) if self.pool == "max" else output.mean(dim=1)

    def forward(self, pooled: Float[Tensor, "batch depth width"]) -> Float[Tensor, "batch depth heads"]:
        """Return the weights from pooled outputs.

        As in the released checkpoints, channel c belongs to head `c % heads`, and maps are counted head by head.
        """
        by_head = pooled.unflatten(2, (-1, self.heads)).permute(0, 3, 1, 2)  # batch, heads, depth, head width
        scalars = self.attn_feat_ffn(by_head).flatten(1)  # batch, heads * depth
        return self.attn_head_ffn(scalars).unflatten(1, (self.heads, -1)).transpose(1, 2)


def _through(block: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the tokens after a timm block and, without gradient, the attention output, queries and keys in it."""
    output, query, key = _attend(block.attn, block.norm1(tokens))
    tokens = tokens + block.drop_path1(block.ls1(output))
    tokens = tokens + block.drop_path2(block.ls2(block.mlp(block.norm2(tokens))))
    return tokens, output.detach(), query.detach(), key.detach()


def _attend(attention: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a timm attention's output (batch, tokens, width), its queries and keys (batch, heads, tokens, width)."""
    query, key, value = attention.qkv(tokens).unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(query, key, value)
    return attention.proj(mixed.transpose(1, 2).flatten(2)), query, key


def _weighted_mean(weights: Tensor, attended: list[tuple[Tensor, Tensor]], classes: int) -> Tensor:
    """Return the mean of the weighted attention maps of all heads and blocks, (batch, tokens, patches).

    The blocks themselves run fused attention, which makes no maps. A block's maps are made here, when all weights are
    known; without gradient, one block's maps are in memory at a time.
    """
    total: Any = 0
    for block, (query, key) in enumerate(attended):
        maps = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)
        total = total + torch.einsum("bh,bhij->bij", weights[:, block], maps)
    return total[..., classes:] / weights[0].numel()


def _without_unused_columns(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    used = torch.tensor([id_ - 1 for id_ in range(1, 91) if id_ not in UNUSED_COCO_IDS])
    tokens = torch.cat([used, torch.arange(90, tensors["pos_embed"].shape[1])])
    fewer = {"cls_token": tensors["cls_token"][:, used], "pos_embed": tensors["pos_embed"][:, tokens]}
    return {**tensors, **fewer, **{name: tensors[name][used] for name in ("head.weight", "head.bias")}}
