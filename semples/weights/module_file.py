"""Weights of a module as safetensors: written completely or not at all, loaded strictly."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from semples.errors import SemplesError
from semples.files import atomic_path, require, sha256


def save_module(module: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write the state of a module as safetensors; `metadata` is its provenance."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with atomic_path(path) as partial:
        save_file(tensors, partial, metadata=metadata)


def load_module(module: nn.Module, path: Path, made_by: str) -> str:
    """Load the state of a module strictly; return the digest of its file.

    Args:
        made_by: Command that writes the file.
    Raises:
        SemplesError: The file is missing, or a name or shape differs.
    """
    tensors = load_file(require(path, made_by))
    require_shapes(tensors, module.state_dict(), path, "give the weights of the model that the config names")
    module.load_state_dict(tensors)
    return sha256(path)


def require_shapes(
    tensors: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], path: Path, remedy: str
) -> None:
    """Raise an error for the first name that only one of the two has, or that has another shape in `expected`."""
    for name in [*expected, *tensors]:
        shape, wanted = (str(tuple(t[name].shape)) if name in t else "nothing" for t in (tensors, expected))
        if shape != wanted:
            raise SemplesError(path, f"{name}: {shape}", f"{name}: {wanted}", remedy)
