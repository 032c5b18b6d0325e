"""Maps of labels straight from the guide's image transformer, without training.

Three kinds: the gradient of the class with respect to the tokens of the last block (CLIP-ES, arXiv 2212.09506); patch
tokens of a last block in which every patch attends to itself alone (MaskCLIP, arXiv 2112.01071); and of one in which
patches attend to patches with similar queries and similar keys (SCLIP, arXiv 2312.01597).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from semples.errors import SemplesError
from semples.models.fast_clip import SelfAttention
from semples.models.guide import Guide

Kind = Literal["gradcam", "patches", "self_similarity"]
Target = Literal["softmax", "cosine"]
BALANCING_STEPS = 3  # of rows and columns of the affinity


class Tower(NamedTuple):
    """The parts of an image transformer of open_clip or timm."""

    blocks: Any
    norm: str  # name of the norm before the attention in a block
    prefix: int  # number of tokens before those of the patches
    grid: tuple[int, int]

    @classmethod
    def of(cls, guide: Guide) -> "Tower":
        """Return the parts of a guide's image tower.

        Raises:
            SemplesError: It is no vision transformer whose parts are known.
        """
        visual: Any = guide.clip.visual
        trunk: Any = getattr(visual, "trunk", None)
        if hasattr(trunk, "blocks") and hasattr(trunk.blocks[-1].attn, "qkv"):
            return cls(trunk.blocks, "norm1", trunk.num_prefix_tokens, tuple(trunk.patch_embed.grid_size))
        blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
        if blocks is not None and hasattr(visual, "grid_size") and isinstance(blocks[-1].attn, SelfAttention):
            return cls(blocks, "ln_1", 1, tuple(visual.grid_size))
        shown, expected = "an image tower whose blocks are not known", "a ViT of open_clip or timm (ViT-B-32, ...)"
        raise SemplesError(f"guide {type(visual).__name__}", shown, expected, "name another `guide.model`")

    @contextmanager
    def recorded(self, number: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Record input and output of the first norm of the last `number` blocks, each (batch, tokens, width).

        The outputs need gradients, and the blocks before them get none.
        """
        records: list[tuple[Tensor, Tensor]] = []

        def record(_norm: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            leaf = output.detach().requires_grad_()
            records.append((inputs[0], leaf))
            return leaf

        hooks = [getattr(block, self.norm).register_forward_hook(record) for block in self.blocks[-number:]]
        try:
            yield records
        finally:
            for hook in hooks:
                hook.remove()


def label_maps(
    guide: Guide,
    pixels: Float[Tensor, "batch 3 size size"],
    texts: Float[Tensor, "labels width"],
    others: Float[Tensor, "words width"],
    kind: Kind,
    target: Target = "softmax",
    affinity_blocks: int = 0,
) -> Float[Tensor, "batch labels rows columns"]:
    """Return a map of every label over the patches of every image; not negative, unscaled.

    Args:
        pixels: Normalised, as `Guide.normalise` returns them.
        texts: Embeddings of the labels, L2-normalised.
        others: Embeddings of words that compete with the labels in a softmax; (0, width) for none.
        target: `gradcam` only: the probability of a label among labels and words, or its cosine. A single label
            without words always has the probability 1; its cosine is used.
        affinity_blocks: Smooth the maps by the attention of so many of the last blocks (CLIP-ES); 0 does not.
    """
    tower = Tower.of(guide)
    with torch.enable_grad(), tower.recorded(max(1, affinity_blocks)) as records:
        embeddings = guide.encode_image(pixels)  # batch, width
        if kind == "gradcam":
            maps = _gradients(guide, embeddings, records[-1][1], torch.cat([texts, others]), len(texts), target)
            maps = maps[..., tower.prefix :]
        else:
            maps = _patch_scores(guide, tower, *records[-1], torch.cat([texts, others]), len(texts), kind)
    if affinity_blocks:
        blocks = tower.blocks[-affinity_blocks:]
        weights = [_attention(block, leaf) for block, (_, leaf) in zip(blocks, records, strict=True)]
        mean = torch.stack(weights).mean(dim=0)[:, tower.prefix :, tower.prefix :]  # batch, patches, patches
        maps = (_balanced(mean) @ maps.transpose(1, 2)).transpose(1, 2)
    return maps.detach().unflatten(2, tower.grid)


def _logit_scale(guide: Guide) -> Tensor:
    return guide.clip.logit_scale.detach().exp()


def _gradients(guide: Guide, embeddings: Tensor, tokens: Tensor, texts: Tensor, labels: int, target: Target) -> Tensor:
    """Return the Grad-CAM of every label over the tokens, (batch, labels, tokens)."""
    cosines = embeddings @ texts.T  # batch, labels and words
    competing = target == "softmax" and len(texts) > 1
    values = (_logit_scale(guide) * cosines).softmax(dim=1) if competing else cosines
    maps = []
    for label in range(labels):
        (gradient,) = torch.autograd.grad(values[:, label].sum(), tokens, retain_graph=label + 1 < labels)
        maps.append((tokens.detach() * gradient.mean(dim=1, keepdim=True)).sum(dim=2).relu())
    return torch.stack(maps, dim=1)


def _patch_scores(
    guide: Guide, tower: Tower, before: Tensor, normed: Tensor, texts: Tensor, labels: int, kind: Kind
) -> Tensor:
    """Return the labels' share in the softmax of every patch over labels and words, (batch, labels, patches).

    With a single text it is the cosine, which the softmax would make 1.
    """
    block, visual = tower.blocks[-1], guide.clip.visual
    query, key, value = _projected(block, normed)  # batch, heads, tokens, head width
    if kind == "self_similarity":
        weights = sum((part @ part.transpose(2, 3) * part.shape[-1] ** -0.5).softmax(dim=-1) for part in (query, key))
        value = weights @ value
    output = _out(block)(value.transpose(1, 2).flatten(2))
    tokens = before + _scale(block, 1)(output)
    tokens = tokens + _scale(block, 2)(block.mlp(_second_norm(block)(tokens)))
    features = _embedded(visual, tokens)[:, tower.prefix :]  # batch, patches, width
    cosines = guide.centred(features) @ texts.T
    scores = (_logit_scale(guide) * cosines).softmax(dim=2) if len(texts) > 1 else cosines.relu()
    return scores[..., :labels].transpose(1, 2)


def _projected(block: Any, normed: Tensor) -> tuple[Tensor, ...]:
    """Return queries, keys and values of a block's attention, each (batch, heads, tokens, head width)."""
    if hasattr(block.attn, "qkv"):
        parts, heads = block.attn.qkv(normed), block.attn.num_heads
    else:
        parts, heads = F.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias), block.attn.heads
    return tuple(part.unflatten(2, (heads, -1)).transpose(1, 2) for part in parts.chunk(3, dim=2))


def _out(block: Any) -> nn.Module:
    return block.attn.proj if hasattr(block.attn, "proj") else block.attn.out_proj


def _scale(block: Any, number: int) -> nn.Module:
    return getattr(block, f"ls{number}") if hasattr(block, "ls1") else getattr(block, f"ls_{number}")


def _second_norm(block: Any) -> nn.Module:
    return block.norm2 if hasattr(block, "norm2") else block.ln_2


def _embedded(visual: Any, tokens: Tensor) -> Tensor:
    """Return the tokens in the space of texts, as the tower maps its class token."""
    if (trunk := getattr(visual, "trunk", None)) is not None:
        return visual.head(trunk.head(trunk.fc_norm(trunk.norm(tokens))))
    tokens = visual.ln_post(tokens)
    return tokens if visual.proj is None else tokens @ visual.proj


@torch.no_grad()
def _attention(block: Any, normed: Tensor) -> Float[Tensor, "batch tokens tokens"]:
    """Return a block's attention weights, the mean over its heads."""
    query, key, _ = _projected(block, normed)
    return (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(dim=-1).mean(dim=1)


def _balanced(weights: Float[Tensor, "batch patches patches"]) -> Float[Tensor, "batch patches patches"]:
    """Return attention as an affinity: rows and columns sum to about one, symmetric, applied twice (CLIP-ES)."""
    for _ in range(BALANCING_STEPS):
        weights = weights / weights.sum(dim=1, keepdim=True)
        weights = weights / weights.sum(dim=2, keepdim=True)
    symmetric = (weights + weights.transpose(1, 2)) / 2
    return symmetric @ symmetric
