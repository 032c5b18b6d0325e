"""Maps and masks of whole images, over scales and flips."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product as pairs

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SIDE_MULTIPLE = 16  # every network here takes sides that are multiples of this
QUERIES_AT_ONCE = 384  # of an attention on a CPU: their scores stay in the cache


def averaged(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    scales: Sequence[float],
    flip: bool,
    size: tuple[int, int],
) -> Tensor:
    """Mean of a network's maps over scales, and over mirror images where `flip`.

    `images` (batch, 3, h, w) in [0, 1]; `network` maps images to (batch, classes, ., .); each result is brought to
    `size` (height, width) bilinearly before the mean. Returns (batch, classes, height, width), float32.
    """
    total, parts = 0, 0
    for scale in scales:
        sides = [max(1, round(scale * side / SIDE_MULTIPLE)) * SIDE_MULTIPLE for side in images.shape[-2:]]
        scaled = F.interpolate(images, size=sides, mode="bilinear", align_corners=False, antialias=True)
        for mirrored in (False, True) if flip else (False,):
            maps = network(scaled.flip(-1) if mirrored else scaled).float()
            maps = maps.flip(-1) if mirrored else maps
            total = total + F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
            parts += 1
    return total / parts


def windowed(network: Callable[[Tensor], Tensor], images: Tensor, side: int | None, overlap: float) -> Tensor:
    """Mean of a network's scores over square windows that cover the images; all at once without a `side`.

    `images` (batch, 3, h, w); `network` keeps height and width. Neighbouring windows share at least `overlap` of
    their side, and the last ones end at the border. Returns (batch, classes, h, w), float32.
    """
    height, width = images.shape[-2:]
    if side is None or (height <= side and width <= side):
        return network(images).float()
    total, count = 0, images.new_zeros(1, 1, height, width)
    for top, left in pairs(window_starts(height, side, overlap), window_starts(width, side, overlap)):
        here = (..., slice(top, top + side), slice(left, left + side))
        scores = network(images[here]).float()
        if not isinstance(total, Tensor):
            total = scores.new_zeros(*scores.shape[:2], height, width)
        total[here] += scores
        count[here] += 1
    return total / count


def window_starts(length: int, side: int, overlap: float) -> list[int]:
    """First pixels of the windows along one side of an image, evenly apart."""
    if length <= side:
        return [0]
    steps = -(-(length - side) // max(1, int(side * (1 - overlap))))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


def stored_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """Size of maps kept at a stride: the image's, divided and rounded up."""
    return -(-height // stride), -(-width // stride)


def as_batch(images: list, device: torch.device, side: int | None = None) -> Tensor:
    """uint8 arrays (h, w, 3) of one shape -> float (batch, 3, h, w) in [0, 1], squashed to `side` if given."""
    batch = torch.stack([torch.from_numpy(image) for image in images]).to(device)
    batch = batch.permute(0, 3, 1, 2).float() / 255
    if side is not None:
        batch = F.interpolate(batch, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    return batch


def pack_linear(model: nn.Module) -> None:
    """Let the linear layers of a float32 model on a CPU multiply by oneDNN, with weights packed for it beforehand.

    PyTorch multiplies float32 matrices by MKL, which on processors other than Intel's takes up to twice as long. The
    layers keep their weights; results differ in the last digits.
    """
    for layer in model.modules():
        if type(layer) is nn.Linear:
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
            layer.forward = partial(_product, other=packed, bias=layer.bias)


class OneDnnAttention(TorchFunctionMode):
    """In the block, and its thread, plain float32 attention on a CPU multiplies by oneDNN, as `pack_linear` does."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        plain = not any(isinstance(value, Tensor) or value for value in kwargs.values())  # no mask, no dropout
        if function is F.scaled_dot_product_attention and plain and len(args) == 3:
            query = args[0]
            if query.dtype == torch.float32 and query.device.type == "cpu" and query.ndim == 4:
                return _attention(*args)
        return function(*args, **kwargs)


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`F.scaled_dot_product_attention` of (batch, heads, tokens, width) each, some hundred queries at a time."""
    query, key = query.contiguous() * query.shape[-1] ** -0.5, key.contiguous()  # oneDNN is slow on strided rows
    turned = value.transpose(-2, -1).contiguous()
    out = torch.empty_like(query)
    for place in pairs(range(query.shape[0]), range(query.shape[1])):
        for start in range(0, query.shape[2], QUERIES_AT_ONCE):
            some = slice(start, start + QUERIES_AT_ONCE)
            scores = _product(query[place][some], key[place]).softmax(dim=1)
            out[place][some] = _product(scores, turned[place])
    return out


def _product(rows: Tensor, other: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., width) and (columns, width), packed or not -> (..., columns), by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(rows, other, bias, "none", [], "")
