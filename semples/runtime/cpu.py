"""Float32 matrix products on a CPU by oneDNN.

PyTorch multiplies float32 matrices by MKL, which on processors other than Intel's takes up to twice as long. Results
differ in the last digits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product as pairs

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

QUERY_BLOCK = 384  # of an attention: their scores stay in the cache


class OneDnn(TorchFunctionMode):
    """In the block, and its thread, linear layers in float32 on a CPU multiply by oneDNN, forward and backward.

    Without gradients so do plain attention, and the products of queries and keys where a network makes its attention
    maps itself.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        ours = None if kwargs and not _are_defaults(kwargs) else self._replacement_for(function, args)
        return function(*args, **kwargs or {}) if ours is None else ours(*args)

    def _replacement_for(self, function, args: tuple):
        """What takes the function's place, if anything does."""
        if function is F.linear and _is_float32_cpu(args[0]):
            return _linear
        if function is F.scaled_dot_product_attention and len(args) == 3 and _is_headed_inference(args[0]):
            return _attention
        if function is Tensor.matmul and all(map(_is_headed_inference, args)):
            return _products
        return None


@contextmanager
def quick_steps(device: torch.device) -> Iterator[None]:
    """For training steps: on a CPU `OneDnn`, and plain attention where gradients flow, whose backward pass is up to
    twice as fast as the fused one's on short sequences."""
    if device.type == "cpu":
        with sdpa_kernel(SDPBackend.MATH), OneDnn():
            yield
    else:
        yield


def fuse(model: nn.Module) -> None:
    """Ready a model for inference under `OneDnn`: weights packed for it, and GELUs done with the product before them.

    The layers keep their weights.
    """
    with_gelu = set()
    for layer in model.modules():
        if type(layer) is Mlp and type(layer.act) is nn.GELU and layer.act.approximate == "none":
            with_gelu.add(layer.fc1)
            layer.act = nn.Identity()
    for layer in model.modules():
        if type(layer) is nn.Linear:
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
            after = "gelu" if layer in with_gelu else "none"
            layer.forward = partial(_product, other=packed, bias=layer.bias, after=after)


class _Linear(torch.autograd.Function):
    """`F.linear` whose gradients are oneDNN's too."""

    @staticmethod
    def forward(ctx, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows if weight.requires_grad else None, weight)
        return _product(rows, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        to_rows, to_weight, to_bias = ctx.needs_input_grad
        gradient = gradient.contiguous()
        flat = gradient.flatten(0, -2)
        return (
            _product(gradient, weight.T.contiguous()) if to_rows else None,
            _product(flat.T.contiguous(), rows.flatten(0, -2).T.contiguous()) if to_weight else None,
            flat.sum(dim=0) if to_bias else None,
        )


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return _Linear.apply(rows, weight, bias)


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`F.scaled_dot_product_attention` of (batch, heads, tokens, width) each, some hundred queries at a time."""
    query, key = query.contiguous() * query.shape[-1] ** -0.5, key.contiguous()  # oneDNN is slow on strided rows
    turned = value.transpose(-2, -1).contiguous()
    out = torch.empty_like(query)
    for place in pairs(range(query.shape[0]), range(query.shape[1])):
        for start in range(0, query.shape[2], QUERY_BLOCK):
            some = slice(start, start + QUERY_BLOCK)
            scores = _product(query[place][some], key[place]).softmax(dim=1)
            out[place][some] = _product(scores, turned[place])
    return out


def _products(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right` of (batch, heads, rows, width) and (batch, heads, width, columns)."""
    left, right = left.contiguous(), right.transpose(-2, -1).contiguous()
    out = left.new_empty(*left.shape[:3], right.shape[2])
    for place in pairs(range(left.shape[0]), range(left.shape[1])):
        out[place] = _product(left[place], right[place])
    return out


def _product(rows: Tensor, other: Tensor, bias: Tensor | None = None, after: str = "none") -> Tensor:
    """(..., width) and (columns, width), packed or not -> (..., columns); `after` may be `gelu`."""
    return torch.ops.mkldnn._linear_pointwise(rows, other, bias, after, [], "none")


def _is_float32_cpu(part: Tensor) -> bool:
    """Whether a tensor is of the kind that oneDNN is for here."""
    plain = part.dtype == torch.float32 and part.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return plain and part.ndim > 1 and part.numel() > 0


def _is_headed_inference(part: Tensor) -> bool:
    """Whether a tensor is (batch, heads, tokens, width), and needs no gradient."""
    return part.ndim == 4 and _is_float32_cpu(part) and not (torch.is_grad_enabled() and part.requires_grad)


def _are_defaults(kwargs: dict) -> bool:
    """Whether an attention's keywords are those of plain attention: no mask, no dropout."""
    return not any(isinstance(value, Tensor) or value for value in kwargs.values())
