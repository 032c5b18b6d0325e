"""Mask generators from settings and files: untrained, trained, a user's own; files of weights, also from elsewhere."""

import pickle
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from traceback import extract_tb
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from semples.config.settings import Generator, Segment, Settings
from semples.errors import SemplesError
from semples.files import require, sha256
from semples.models.generators import MaskGenerator, build_generator
from semples.weights.tensor_file import digest_tensors, read_tensors, require_finite, save_tensors

BROKEN = (OSError, EOFError, RuntimeError, AttributeError, LookupError, TypeError, ValueError)  # of a file of weights


def weights_file(section: Generator | Segment, downloaded: Path | None) -> Path | None:
    """Return the file of weights that a section of the settings starts from, None where it starts at random.

    `downloaded` is the file of `semples weights`, needed where the settings name such weights.
    """
    if source := section.downloaded_weights():
        if downloaded is None:
            raise SemplesError("--weights", "nothing", f"a file of {source}", "make it with `semples weights`")
        return require(downloaded, "weights")
    keyword = type(section)().weights  # of no effect on a generator that has no ImageNet weights
    return None if section.weights in ("none", keyword) else Path(section.weights)


def weights_digest(path: Path | None) -> dict[str, str]:
    """Return, for provenance, the digest of the file of weights that a training starts from; empty without one."""
    return {"weights": sha256(path)} if path else {}


def trained_generator(settings: Settings, classes: int, path: Path, made_by: str) -> tuple[MaskGenerator, str]:
    """Return the generator that the stage `made_by` trained, and the digest of its file."""
    generator = bare_generator(settings.generator, classes)
    return generator, load_module(generator, path, made_by)


def own_code(settings: Settings) -> dict[str, str]:
    """Return the digest of a user's own generator file, for provenance; empty for the generators of the package."""
    return {"generator": sha256(path)} if (path := settings.generator.own_file()) and path.exists() else {}


def bare_generator(settings: Generator, classes: int) -> MaskGenerator:
    """Return the generator that the settings name, a user's own too, with random weights."""
    if path := settings.own_file():
        return _own_generator(path, settings.name.rpartition(":")[2], classes, settings.options)
    fusion = {"fusion_pool", "fusion_reduction", "position_resize"}
    options = settings.model_dump(include={"drop_path", "sharpness", "activation", "layers", *fusion})
    return build_generator(settings.name, classes, settings.backbone, **options)


def _own_generator(path: Path, name: str, classes: int, options: dict[str, Any]) -> MaskGenerator:
    """Return the generator of the class `name` of a user's Python file."""
    problem = "no such file"
    try:
        if path.exists():
            own = run_path(str(path)).get(name)
            if isinstance(own, type) and issubclass(own, MaskGenerator):
                return cast(Callable[..., MaskGenerator], own)(classes, **options)
            problem = f"{name}: {own!r}"
    except Exception as error:  # of a user's code
        line = extract_tb(error.__traceback__)[-1]
        problem = f"{type(error).__name__}: {error} ({Path(line.filename).name}, line {line.lineno})"
    expected, remedy = f"a Python file with a class {name}(MaskGenerator)", "correct the file, or `generator.name`"
    raise SemplesError(path, problem, expected, remedy)


def load_weights(generator: MaskGenerator, path: Path) -> None:
    """Load the weights of a backbone, which leave the head as drawn, or a checkpoint of the whole generator."""
    state, expected = generator.converted(read_weights(path, "generator.weights")), generator.state_dict()
    head = {id(tensor) for tensor in generator.map_head().state_dict(keep_vars=True).values()}
    names = {name for name, tensor in generator.state_dict(keep_vars=True).items() if id(tensor) in head}
    if not names & set(state):  # a backbone alone
        expected = {name: tensor for name, tensor in expected.items() if name not in names}
    _require_shapes(state, expected, path, "name weights of the same model in `generator.weights`")
    generator.load_state_dict(state, strict=False)


def backbone_of(encoder: nn.Module) -> nn.Module:
    """Return the part of a segmentation network's encoder that has weights: smp keeps a timm model as `model`."""
    return getattr(encoder, "model", encoder)


def load_backbone(backbone: nn.Module, path: Path, key: str) -> None:
    """Load timm weights into a backbone, without their classifier head; `key` is the setting that names `path`."""
    heads = ("head.", "fc.", "classifier.")
    tensors = {name: value for name, value in read_weights(path, key).items() if not name.startswith(heads)}
    _require_shapes(tensors, backbone.state_dict(), path, f"name weights of the same model in `{key}`")
    backbone.load_state_dict(tensors)


def read_weights(path: Path, key: str) -> dict[str, Tensor]:
    """Return the tensors, as float32, of a safetensors file or a PyTorch checkpoint (also one with the key `model`).

    `key` is the setting that names `path`.
    """
    expected = "tensors by name, as safetensors or PyTorch checkpoint"
    if not path.exists():
        raise SemplesError(path, "no such file", expected, f"correct `{key}`")
    try:
        checkpoint = path.suffix != ".safetensors"
        tensors: dict = torch.load(path, map_location="cpu", weights_only=True) if checkpoint else load_file(path)
        tensors = tensors.get("model", tensors) if checkpoint else tensors
        weights = {name: tensor.float() for name, tensor in tensors.items()}
    except (SafetensorError, pickle.UnpicklingError, *BROKEN) as error:
        raise SemplesError(path, f"no weights: {str(error).splitlines()[:1]}", expected, f"correct `{key}`") from error
    require_finite(weights, path, f"name other weights in `{key}`")
    return weights


def save_module(module: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write the state of a module as safetensors; `metadata` is its provenance."""
    save_tensors({name: value.detach().cpu() for name, value in module.state_dict().items()}, path, metadata)


def load_module(module: nn.Module, path: Path, made_by: str) -> str:
    """Load the state of a module strictly from a file of the command `made_by`; return the digest of its tensors."""
    tensors = read_tensors(path, made_by)
    _require_shapes(tensors, module.state_dict(), path, "give the weights of the model that the config names")
    module.load_state_dict(tensors)
    return digest_tensors(tensors)


def _require_shapes(tensors: dict[str, Tensor], expected: dict[str, Tensor], path: Path, remedy: str) -> None:
    """Raise an error for the first name that only one of the two has, or that has another shape in `expected`."""
    for name in [*expected, *tensors]:
        shape, wanted = (str(tuple(t[name].shape)) if name in t else "nothing" for t in (tensors, expected))
        if shape != wanted:
            raise SemplesError(path, f"{name}: {shape}", f"{name}: {wanted}", remedy)
