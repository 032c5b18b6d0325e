"""open_clip's towers with the same weights and values, in fewer and larger matrix products."""

import torch.nn.functional as F
from open_clip.transformer import text_global_pool
from torch import Tensor, nn


def speed_up(clip: nn.Module) -> nn.Module:
    """Give the modules of an open_clip model their faster equals, in place; names and parameters stay."""
    for parent in list(clip.modules()):
        for name, part in list(parent.named_children()):
            if type(part) is nn.MultiheadAttention and part.batch_first and part.in_proj_weight is not None:
                setattr(parent, name, SelfAttention(part))
            elif type(part) is nn.Conv2d and _cuts_patches(part):
                setattr(parent, name, PatchEmbedding(part))
    return clip.eval()


class SelfAttention(nn.Module):
    """torch's multi-head attention of tokens with themselves, whose projection is one product over all tokens.

    torch's own projects a transposed view, image by image; backwards that costs half as much again.
    """

    def __init__(self, slow: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = slow.num_heads
        self.in_proj_weight, self.in_proj_bias, self.out_proj = slow.in_proj_weight, slow.in_proj_bias, slow.out_proj

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """`query`, which `key` and `value` must be too, (batch, tokens, width); a mask is added to the scores."""
        projected = F.linear(query, self.in_proj_weight, self.in_proj_bias)
        query, key, value = projected.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


class PatchEmbedding(nn.Module):
    """A convolution whose kernels do not overlap, as one matrix product; its gradient to the pixels is another."""

    def __init__(self, slow: nn.Conv2d) -> None:
        super().__init__()
        self.size = slow.kernel_size
        self.weight, self.bias = slow.weight, slow.bias

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, channels, h, w) -> (batch, width, rows, columns); what fills no whole patch is left out."""
        high, wide = self.size
        rows, columns = pixels.shape[-2] // high, pixels.shape[-1] // wide
        pixels = pixels[..., : rows * high, : columns * wide]
        cut = pixels.unflatten(3, (columns, wide)).unflatten(2, (rows, high))  # batch, channel, row, high, column, wide
        patches = cut.permute(0, 2, 4, 1, 3, 5).flatten(3)  # batch, row, column, channel x high x wide
        return F.linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def encode_embedded(clip: nn.Module, tokens: Tensor, embedded: Tensor, used: int) -> Tensor:
    """As `clip.encode_text`, from token embeddings (batch, context, width), whose end is among the first `used`.

    A causal mask hides from every token what follows it, so what follows the end token need not be computed.
    """
    if clip.attn_mask is None or clip.text_pool_type not in ("argmax", "eos"):
        used = tokens.shape[1]
    mask = None if clip.attn_mask is None else clip.attn_mask[:used, :used]
    hidden = clip.transformer(embedded[:, :used] + clip.positional_embedding[:used], attn_mask=mask)
    end_id = getattr(clip, "text_eos_id", None)
    end = text_global_pool(clip.ln_final(hidden), tokens[:, :used], clip.text_pool_type, eos_token_id=end_id)
    projection = clip.text_projection
    if projection is None:
        return end
    return projection(end) if isinstance(projection, nn.Linear) else end @ projection


def _cuts_patches(part: nn.Conv2d) -> bool:
    """Whether a convolution's kernels tile the image."""
    tiles = part.kernel_size == part.stride and part.padding in ((0, 0), "valid") and part.kernel_size != (1, 1)
    return tiles and part.dilation == (1, 1) and part.groups == 1
