"""Mask generators from settings and files: new ones, trained ones, a user's own, and weights from elsewhere."""

import importlib.util
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from semples.config.settings import Generator, Segment, Settings
from semples.errors import SemplesError
from semples.files import require, sha256
from semples.models.generators import MaskGenerator, build_generator
from semples.weights.module_file import expect_shapes, load_module


def weights_file(section: Generator | Segment, downloaded: Path | None) -> Path | None:
    """Return the file of weights that a section of the settings starts from, None where it starts at random.

    Args:
        downloaded: File of `semples weights`.
    Raises:
        SemplesError: The settings name weights that `semples weights` downloads, and there is no file.
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
    """The generator as a former stage left it, and the digest of its file."""
    generator = bare_generator(settings.generator, classes)
    return generator, load_module(generator, path, made_by)


def own_code(settings: Settings) -> dict[str, str]:
    """For provenance, the digest of a user's own generator file; empty for the package's generators."""
    path = settings.generator.own_file()
    return {"generator": sha256(path)} if path and path.exists() else {}


def bare_generator(chosen: Generator, classes: int) -> MaskGenerator:
    """The generator that the settings name, a user's own too."""
    if path := chosen.own_file():
        return _own_class(path, chosen.name.rpartition(":")[2])(classes, **chosen.options)
    return build_generator(
        chosen.name,
        classes,
        chosen.backbone,
        drop_path=chosen.drop_path,
        fusion_pool=chosen.fusion_pool,
        fusion_reduction=chosen.fusion_reduction,
        sharpness=chosen.sharpness,
        activation=chosen.activation,
    )


def _own_class(path: Path, name: str) -> type[MaskGenerator]:
    """The class `name` of a user's Python file."""
    expected = f"a Python file with a class {name}(MaskGenerator)"
    if not path.exists():
        raise SemplesError(path, "no such file", expected, "correct `generator.name`")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, MaskGenerator)):
        raise SemplesError(path, f"{name}: {found!r}", expected, "correct the file, or `generator.name`")
    return found


def load_weights(generator: MaskGenerator, path: Path) -> None:
    """Load a backbone's weights, or a checkpoint of the whole generator; `generator.converted` tells which."""
    state, expected = generator.converted(read_weights(path, "generator.weights")), generator.state_dict()
    head = {id(tensor) for tensor in generator.map_head().state_dict(keep_vars=True).values()}
    names = {name for name, tensor in generator.state_dict(keep_vars=True).items() if id(tensor) in head}
    if not names & set(state):  # a backbone alone: the head stays as it was drawn
        expected = {name: tensor for name, tensor in expected.items() if name not in names}
    expect_shapes(state, expected, path, "name weights of the same model in `generator.weights`")
    generator.load_state_dict(state, strict=False)


def backbone_of(encoder: nn.Module) -> nn.Module:
    """Return the part of a segmentation network's encoder that has weights: smp keeps a timm model as `model`."""
    return getattr(encoder, "model", encoder)


def load_backbone(backbone: nn.Module, path: Path, key: str) -> None:
    """Load timm weights into a backbone, whatever their classifier head; `key` is the setting that names `path`."""
    heads = ("head.", "fc.", "classifier.")
    tensors = {name: value for name, value in read_weights(path, key).items() if not name.startswith(heads)}
    expect_shapes(tensors, backbone.state_dict(), path, f"name weights of the same model in `{key}`")
    backbone.load_state_dict(tensors)


def read_weights(path: Path, key: str) -> dict[str, Tensor]:
    """Float tensors of a safetensors file or a PyTorch checkpoint (also one that holds them as `model`)."""
    expected = "tensors by name, as safetensors or PyTorch checkpoint"
    if not path.exists():
        raise SemplesError(path, "no such file", expected, f"correct `{key}`")
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
            tensors = tensors.get("model", tensors)
        return {name: tensor.float() for name, tensor in tensors.items()}
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError, AttributeError, LookupError) as error:
        raise SemplesError(path, f"no weights: {str(error).splitlines()[:1]}", expected, f"correct `{key}`") from error
