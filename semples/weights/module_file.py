"""Weights of a module as safetensors, written whole and loaded strictly."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from semples.errors import SemplesError
from semples.files import atomic_path, require, sha256


def save_module(module: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write a module's state as safetensors with its provenance, whole or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with atomic_path(path) as partial:
        save_file(tensors, partial, metadata=metadata)


def load_module(module: nn.Module, path: Path, made_by: str) -> str:
    """Load a module's state strictly, or name the first key that does not fit; return the file's digest."""
    tensors = load_file(require(path, made_by))
    expect_shapes(tensors, module.state_dict(), path, "give the weights of the model that the config names")
    module.load_state_dict(tensors)
    return sha256(path)


def expect_shapes(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], path: Path, remedy: str) -> None:
    """An error that names the first key that one of the two lacks, or has in another shape."""
    for name in [*expected, *found]:
        here, wanted = (str(tuple(t[name].shape)) if name in t else "nothing" for t in (found, expected))
        if here != wanted:
            raise SemplesError(path, f"{name}: {here}", f"{name}: {wanted}", remedy)
