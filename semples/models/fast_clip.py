"""Drop-in replacements for open_clip's attention, patch embedding and QuickGELU: same outputs, less work.

Some of the attributes read here are private. Where a version lacks one, the computation is left to open_clip.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from semples.models.checkpointing import checkpointed

VISUAL_PARTS = ("_embeds", "transformer", "ln_post", "proj", "pool_type", "attn_pool")
BLOCK_PARTS = ("ln_1", "attn", "ls_1", "ln_2", "mlp", "ls_2")
SLOPE = 1.702  # of QuickGELU
Tokens = Float[Tensor, "batch tokens width"]
Mask = Float[Tensor, "tokens tokens"] | None


def speed_up(clip: nn.Module) -> Any:
    """Replace the modules of an open_clip model by faster ones, in place; names and parameters stay."""
    from open_clip.transformer import QuickGELU  # imported late, as in semples.models.guide

    for parent in list(clip.modules()):
        for name, part in list(parent.named_children()):
            if type(part) is nn.MultiheadAttention and part.batch_first and part.in_proj_weight is not None:
                setattr(parent, name, SelfAttention(part))
            elif type(part) is nn.Conv2d and _cuts_patches(part):
                setattr(parent, name, PatchEmbedding(part))
            elif type(part) is QuickGELU:
                setattr(parent, name, QuickGelu())
    return clip.eval()


class SelfAttention(nn.Module):
    """torch's multi-head attention of tokens with themselves, projected by one product over all tokens.

    torch's own projects a transposed view image by image, whose backward pass takes half as long again.
    """

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads, self.out_proj = original.num_heads, original.out_proj
        self.in_proj_weight, self.in_proj_bias = original.in_proj_weight, original.in_proj_bias

    def forward(
        self, query: Tokens, key: Tokens, value: Tokens, need_weights: bool = False, attn_mask: Mask = None
    ) -> tuple[Tokens, None]:
        """Attend as nn.MultiheadAttention does; `key` and `value` must be `query`, the mask is added to the scores."""
        query, key, value = F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=2)
        return self._attend(query, key, value, attn_mask), None

    def attend_last_query(self, tokens: Tokens, index: int) -> Float[Tensor, "batch 1 width"]:
        """Return the attention output of the token at `index` alone, which attends to all tokens."""
        weights, biases, width = self.in_proj_weight, self.in_proj_bias, tokens.shape[2]
        query = F.linear(tokens[:, index], weights[:width], biases[:width]).unsqueeze(1)
        key, value = F.linear(tokens, weights[width:], biases[width:]).chunk(2, dim=2)
        return self._attend(query, key, value, None)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None) -> Tensor:
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class PatchEmbedding(nn.Module):
    """A convolution whose kernels do not overlap, as one matrix product; its gradient to the pixels is another."""

    def __init__(self, original: nn.Conv2d) -> None:
        super().__init__()
        self.size, self.weight, self.bias = original.kernel_size, original.weight, original.bias

    def forward(self, pixels: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch width rows columns"]:
        """Convolve; pixels that fill no whole patch are left out."""
        high, wide = self.size
        rows, columns = pixels.shape[-2] // high, pixels.shape[-1] // wide
        pixels = pixels[..., : rows * high, : columns * wide]
        cut = pixels.unflatten(3, (columns, wide)).unflatten(2, (rows, high))  # batch, channel, row, high, column, wide
        patches = cut.permute(0, 2, 4, 1, 3, 5).flatten(3)  # batch, row, column, channel x high x wide
        return F.linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class QuickGelu(nn.Module):
    """`x * sigmoid(1.702 x)`, which is `silu(1.702 x) / 1.702`; its gradient is one kernel, that of SiLU at 1.702 x."""

    def forward(self, values: Tensor) -> Tensor:
        return _QuickGelu.apply(values)


class _QuickGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        scaled = values * SLOPE
        ctx.save_for_backward(scaled)
        return F.silu(scaled).div_(SLOPE)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (scaled,) = ctx.saved_tensors
        return torch.ops.aten.silu_backward(gradient, scaled)


def encode_image(clip: Any, pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch width"]:
    """Return `clip.encode_image(pixels)`; a transformer's last block computes only the class token, which is pooled."""
    visual = clip.visual
    complete = all(hasattr(visual, name) for name in VISUAL_PARTS)
    if not (complete and visual.pool_type == "tok" and visual.attn_pool is None):
        return clip.encode_image(pixels)
    token = visual.ln_post(_last_token(visual.transformer, visual._embeds(pixels), 0, None))
    return token if visual.proj is None else token @ visual.proj


def encode_embedded(clip: Any, embedded: Tokens, end: int) -> Float[Tensor, "batch embedding_width"]:
    """Return `clip.encode_text` of token embeddings that all have their end token at index `end`.

    A causal mask hides later tokens from earlier ones, so that the tokens after the end are not computed.
    """
    index = {"first": 0, "last": -1}.get(clip.text_pool_type, end)
    if clip.attn_mask is None or index != end:
        tokens = clip.transformer(embedded + clip.positional_embedding, attn_mask=clip.attn_mask)
        token = clip.ln_final(tokens)[:, index]
    else:
        used = slice(end + 1)
        embedded = embedded[:, used] + clip.positional_embedding[used]
        token = clip.ln_final(_last_token(clip.transformer, embedded, end, clip.attn_mask[used, used]))
    if (projection := clip.text_projection) is None:
        return token
    return projection(token) if isinstance(projection, nn.Linear) else token @ projection


def _last_token(transformer: Any, tokens: Tokens, index: int, mask: Mask) -> Float[Tensor, "batch width"]:
    """Return the token at `index`, which attends to all others, after a transformer's last block."""
    if not hasattr(transformer, "resblocks"):
        return transformer(tokens, attn_mask=mask)[:, index]
    *blocks, last = transformer.resblocks
    for block in blocks:
        call = partial(block, attn_mask=mask)
        tokens = checkpointed(call, tokens) if getattr(transformer, "grad_checkpointing", False) else call(tokens)
    if not (all(hasattr(last, name) for name in BLOCK_PARTS) and isinstance(last.attn, SelfAttention)):
        return last(tokens, attn_mask=mask)[:, index]
    token = tokens[:, index : index + 1] + last.ls_1(last.attn.attend_last_query(last.ln_1(tokens), index))
    return (token + last.ls_2(last.mlp(last.ln_2(token))))[:, 0]


def _cuts_patches(part: nn.Conv2d) -> bool:
    """Return whether a convolution's kernels tile the image."""
    tiles = part.kernel_size == part.stride and part.padding in ((0, 0), "valid") and part.kernel_size != (1, 1)
    return tiles and part.dilation == (1, 1) and part.groups == 1
