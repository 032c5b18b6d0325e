"""Float32 matrix products on a CPU, by the faster of oneDNN and PyTorch's own library, MKL.

Which one is faster depends on the processor: MKL takes up to twice as long on some, less time than oneDNN on AMD Zen 3.
Their results differ in the last digits. The choice is therefore made once per processor and PyTorch version and
remembered in the user's cache folder, so that the same seed gives the same bytes. SEMPLES_MATMUL overrides it.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import cache, partial
from itertools import product as pairs

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from semples.errors import SemplesError
from semples.runtime.user_cache import cache_file

log = logging.getLogger(__name__)
LIBRARIES = ("onednn", "mkl")
MKL_MARGIN = 1.03  # oneDNN must take this many times as long before MKL replaces it
REPETITIONS = 12
SHAPES = ((256, 384, 384), (128, 768, 768), (512, 192, 768))  # rows, width and columns of the timed products
QUERY_BLOCK = 384  # of an attention: their scores stay in the cache


def uses_onednn() -> bool:
    """Return whether oneDNN multiplies here: as SEMPLES_MATMUL says, else as this processor is faster."""
    if not (hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")):
        return False
    library = os.environ.get("SEMPLES_MATMUL") or _remembered()
    if library not in LIBRARIES:
        raise SemplesError("SEMPLES_MATMUL", repr(library), " or ".join(LIBRARIES), "correct or unset the variable")
    return library == "onednn"


@cache
def _remembered() -> str:
    """Return the library that the cache file names, or measure; a process that cannot write the file goes on alone."""
    try:
        path = cache_file("matmul", torch.__version__, str(SHAPES))
        if path.exists() and (library := path.read_text(encoding="utf-8").strip()) in LIBRARIES:
            return library
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+", encoding="utf-8") as file:
            with suppress(OSError):  # of a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)  # of several processes that start together, one measures
            file.seek(0)
            if (library := file.read().strip()) not in LIBRARIES:
                library = _faster_library()
                file.truncate(0)
                file.write(f"{library}\n")
            return library
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        log.warning("no cache folder (%s): SEMPLES_MATMUL fixes the library, else the last digits may change", error)
        return _faster_library()


def _faster_library() -> str:
    """Time products by both libraries on one thread, in turns; the shortest count, as other processes lengthen them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = [[(_seconds(_product, *s), _seconds(F.linear, *s)) for _ in range(REPETITIONS)] for s in SHAPES]
    torch.set_num_threads(threads)
    onednn, mkl = (sum(min(pair[library] for pair in shape) for shape in times) for library in (0, 1))
    return "mkl" if onednn > MKL_MARGIN * mkl else "onednn"


@torch.inference_mode()
def _seconds(function: Callable, count: int, width: int, columns: int) -> float:
    rows, weight = torch.ones(count, width), torch.ones(columns, width)
    start = time.perf_counter()
    function(rows, weight)
    return time.perf_counter() - start


class OneDnn(TorchFunctionMode):
    """Multiply by oneDNN in the block and its thread, forward and backward: float32 linear layers on a CPU.

    Without gradients, plain attention and products of (batch, heads, ...) tensors go by oneDNN too.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if _has_options(kwargs):
            return function(*args, **kwargs)
        replacement = self._replacement_for(function, args)
        return function(*args, **kwargs or {}) if replacement is None else replacement(*args)

    def _replacement_for(self, function: Callable, args: tuple) -> Callable | None:
        if function is F.linear and _is_float32_cpu(args[0]):
            return lambda rows, weight, bias=None: _Linear.apply(rows, weight, bias)
        if function is F.scaled_dot_product_attention and len(args) == 3 and _is_headed_inference(args[0]):
            return _attention
        return _headed_product if function is Tensor.matmul and all(map(_is_headed_inference, args)) else None


class PlainAttention(TorchFunctionMode):
    """Compute attention by two products and a softmax in the block and its thread, at any precision.

    PyTorch's own plain attention also looks for rows of which a mask hides every token; ours have none.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.scaled_dot_product_attention and not _has_options(kwargs) and _is_at_most_added_mask(args[3:]):
            return _plain_attention(*args)
        return function(*args, **kwargs or {})


@contextmanager
def quick_steps(device: torch.device, plain: bool = False) -> Iterator[None]:
    """Run training steps in this block: on a CPU by the faster library, and with plain attention.

    On short sequences the backward pass of plain attention takes half the time of the fused one. With `plain`,
    everything is PyTorch's own: compiled steps choose themselves, and where a backward pass computes again, for
    activation checkpointing, PyTorch has left our modes.
    """
    if device.type != "cpu":
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if not plain:
            stack.enter_context(PlainAttention())
            stack.enter_context(OneDnn() if uses_onednn() else nullcontext())
        yield


def fuse(model: nn.Module) -> None:
    """Prepare a model for inference under `OneDnn`: pack the weights, compute GELUs with the product before them.

    The state dict stays as it is. Where MKL is faster, the model stays as it is.
    """
    if not uses_onednn():
        return
    activation = {}
    for layer in model.modules():  # a block of layers comes before its parts
        if type(layer) is Mlp and type(layer.act) is nn.GELU and layer.act.approximate == "none":
            activation[layer.fc1], layer.act = "gelu", nn.Identity()
        elif type(layer) is nn.Linear:
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
            fused = partial(_product, weight=packed, bias=layer.bias, activation=activation.get(layer, "none"))
            layer.forward = fused  # type: ignore[method-assign]


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
        rows_gradient = _product(gradient, weight.T.contiguous()) if to_rows else None
        weight_gradient = _product(flat.T.contiguous(), rows.flatten(0, -2).T.contiguous()) if to_weight else None
        return rows_gradient, weight_gradient, flat.sum(dim=0) if to_bias else None


def _plain_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return `F.scaled_dot_product_attention` of (batch, heads, tokens, width) each; a mask is added to the scores.

    Under autocast the softmax too has the precision of the scores, as in PyTorch's own.
    """
    scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
    with torch.autocast("cpu", enabled=False):
        weights = (scores if mask is None else scores + mask.to(scores.dtype)).softmax(dim=-1)
    return weights @ value


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return `F.scaled_dot_product_attention` of (batch, heads, tokens, width) each, one block of queries at a time."""
    query, key = query.contiguous() * query.shape[-1] ** -0.5, key.contiguous()  # oneDNN is slow on strided rows
    transposed = value.transpose(-2, -1).contiguous()
    out = torch.empty_like(query)
    for head in pairs(range(query.shape[0]), range(query.shape[1])):
        for start in range(0, query.shape[2], QUERY_BLOCK):
            block = slice(start, start + QUERY_BLOCK)
            scores = _product(query[head][block], key[head]).softmax(dim=1)
            out[head][block] = _product(scores, transposed[head])
    return out


def _headed_product(left: Tensor, right: Tensor) -> Tensor:
    """Return `left @ right` of (batch, heads, rows, width) and (batch, heads, width, columns)."""
    left, right = left.contiguous(), right.transpose(-2, -1).contiguous()
    out = left.new_empty(*left.shape[:3], right.shape[2])
    for head in pairs(range(left.shape[0]), range(left.shape[1])):
        out[head] = _product(left[head], right[head])
    return out


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none") -> Tensor:
    """Multiply (..., width) by (columns, width), packed or not: (..., columns); `activation` may be `gelu`."""
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, activation, [], "none")


def _has_options(named: dict[str, object] | None) -> bool:
    """Return whether any named argument is set: a mask, dropout, causality."""
    return any(isinstance(value, Tensor) or value for value in (named or {}).values())


def _is_at_most_added_mask(rest: tuple) -> bool:
    """Return whether an attention's arguments after query, key and value are at most a mask that is added."""
    return len(rest) == 0 or (len(rest) == 1 and (rest[0] is None or rest[0].is_floating_point()))


def _is_float32_cpu(tensor: Tensor) -> bool:
    """Return whether a tensor is a float32 matrix on the CPU, outside of autocast."""
    plain = tensor.dtype == torch.float32 and tensor.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return plain and tensor.ndim > 1 and tensor.numel() > 0


def _is_headed_inference(tensor: Tensor) -> bool:
    """Return whether a tensor is (batch, heads, tokens, width) and needs no gradient."""
    return tensor.ndim == 4 and _is_float32_cpu(tensor) and not (torch.is_grad_enabled() and tensor.requires_grad)
