"""Tensors as safetensors: finite ones only, written completely or not at all; equal ones give equal bytes."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from semples.errors import SemplesError
from semples.files import atomic_path, require

REMEDY = "train it with a lower learning rate, or with `precision: 32-true`"


def not_finite(tensors: dict[str, Tensor]) -> str:
    """Return the name of the first tensor with a value that is not finite; "" if all are finite."""
    return next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), "")


def require_finite(tensors: dict[str, Tensor], path: Path, remedy: str) -> None:
    """Raise an error if a tensor of the file `path` has a value that is not finite."""
    if name := not_finite(tensors):
        raise SemplesError(path, f"{name}: a value that is not finite", "finite numbers", remedy)


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write finite tensors and `metadata`, their provenance, as safetensors."""
    require_finite(tensors, path, REMEDY)
    content = memoryview(save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata))
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(bytes(content[8:start]))  # its metadata come in random order
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as partial, open(partial, "wb") as file:
        for part in (len(text).to_bytes(8, "little"), text, content[start:]):
            file.write(part)


def read_tensors(path: Path, made_by: str, *names: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file of the command `made_by`, which has these `names`, perhaps more."""
    try:
        tensors = load_file(require(path, made_by))
        problem = "" if tensors.keys() >= {*names} else f"tensors {sorted(tensors)}"
    except (SafetensorError, OSError) as error:
        problem = f"unreadable: {error}"
    if problem:
        raise SemplesError(path, problem, f"what `semples {made_by}` wrote", f"run `semples {made_by}` again")
    require_finite(tensors, path, REMEDY)
    return tensors


def digest_tensors(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256, as hex digits, of names, types, shapes and values of tensors."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()
