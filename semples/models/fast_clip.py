"""open_clip's towers with the same weights and values, in fewer and larger matrix products."""

import torch.nn.functional as F
from open_clip.transformer import VisionTransformer, text_global_pool
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

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = original.num_heads
        self.in_proj_weight, self.in_proj_bias, self.out_proj = (
            original.in_proj_weight,
            original.in_proj_bias,
            original.out_proj,
        )

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """`query`, which `key` and `value` must be too, (batch, tokens, width); a mask is added to the scores."""
        parts = F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=2)
        return self._mixed(*parts, attn_mask), None

    def attend_last_query(self, tokens: Tensor, place: int) -> Tensor:
        """What the token at `place` gets from all `tokens` (batch, tokens, width): (batch, 1, width)."""
        weights, biases = self.in_proj_weight, self.in_proj_bias
        width = tokens.shape[2]
        query = F.linear(tokens[:, place : place + 1], weights[:width], biases[:width])
        key, value = F.linear(tokens, weights[width:], biases[width:]).chunk(2, dim=2)
        return self._mixed(query, key, value)

    def _mixed(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        heads = [part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)]
        mixed = F.scaled_dot_product_attention(*heads, attn_mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class PatchEmbedding(nn.Module):
    """A convolution whose kernels do not overlap, as one matrix product; its gradient to the pixels is another."""

    def __init__(self, original: nn.Conv2d) -> None:
        super().__init__()
        self.size = original.kernel_size
        self.weight, self.bias = original.weight, original.bias

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, channels, h, w) -> (batch, width, rows, columns); what fills no whole patch is left out."""
        high, wide = self.size
        rows, columns = pixels.shape[-2] // high, pixels.shape[-1] // wide
        pixels = pixels[..., : rows * high, : columns * wide]
        cut = pixels.unflatten(3, (columns, wide)).unflatten(2, (rows, high))  # batch, channel, row, high, column, wide
        patches = cut.permute(0, 2, 4, 1, 3, 5).flatten(3)  # batch, row, column, channel x high x wide
        return F.linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def encode_image(clip: nn.Module, pixels: Tensor) -> Tensor:
    """As `clip.encode_image`; of a transformer's last block only the class token is computed, as only it is read."""
    visual = clip.visual
    if not (isinstance(visual, VisionTransformer) and visual.pool_type == "tok" and visual.attn_pool is None):
        return clip.encode_image(pixels)
    token = visual.ln_post(_last_token(visual.transformer, visual._embeds(pixels), 0, None))
    return token if visual.proj is None else token @ visual.proj


def encode_embedded(clip: nn.Module, tokens: Tensor, embedded: Tensor, end: int) -> Tensor:
    """As `clip.encode_text`, from token embeddings (batch, context, width) that all end at the place `end`.

    A causal mask hides from every token what follows it, so what follows the end need not be computed.
    """
    if clip.attn_mask is None or clip.text_pool_type not in ("argmax", "eos"):
        hidden = clip.transformer(embedded + clip.positional_embedding, attn_mask=clip.attn_mask)
        end_id = getattr(clip, "text_eos_id", None)
        token = text_global_pool(clip.ln_final(hidden), tokens, clip.text_pool_type, eos_token_id=end_id)
    else:
        used = end + 1
        embedded = embedded[:, :used] + clip.positional_embedding[:used]
        token = clip.ln_final(_last_token(clip.transformer, embedded, end, clip.attn_mask[:used, :used]))
    projection = clip.text_projection
    if projection is None:
        return token
    return projection(token) if isinstance(projection, nn.Linear) else token @ projection


def _last_token(transformer: nn.Module, tokens: Tensor, place: int, mask: Tensor | None) -> Tensor:
    """The token (batch, width) at `place`, which sees all others, after a transformer's last block."""
    *blocks, last = transformer.resblocks
    for block in blocks:
        tokens = block(tokens, attn_mask=mask)
    if not isinstance(last.attn, SelfAttention):
        return last(tokens, attn_mask=mask)[:, place]
    token = tokens[:, place : place + 1] + last.ls_1(last.attn.attend_last_query(last.ln_1(tokens), place))
    return (token + last.ls_2(last.mlp(last.ln_2(token))))[:, 0]


def _cuts_patches(part: nn.Conv2d) -> bool:
    """Whether a convolution's kernels tile the image."""
    tiles = part.kernel_size == part.stride and part.padding in ((0, 0), "valid") and part.kernel_size != (1, 1)
    return tiles and part.dilation == (1, 1) and part.groups == 1
