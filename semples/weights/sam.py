"""SAM and SAM 2 by transformers: from the hub, from a folder, and as the file that `semples weights` writes."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from semples.errors import SemplesError
from semples.files import digest, sha256
from semples.models.optional import import_transformers
from semples.weights.generators import load_module
from semples.weights.tensor_file import require_finite, save_tensors

CONFIG = "sam_config"  # key of the model's configuration in the metadata of its file
NEEDED_BY = ("refine.kind: sam", "sam")


def pretrained_sam(source: str, local: bool) -> nn.Module:
    """Return the model of a folder that `save_pretrained` wrote, or of an id on the Hugging Face Hub unless `local`.

    Raises:
        SemplesError: It is no SAM or SAM 2, its weights do not fit, or the library is missing.
        Exception: The hub's, for an unknown id or without a network.
    """
    transformers = import_transformers(*NEEDED_BY)
    kind = transformers.AutoConfig.from_pretrained(source, local_files_only=local).model_type
    if kind not in ("sam", "sam2", "sam2_video"):
        remedy = "name another in `refine.sam.weights`"
        raise SemplesError(source, f"a model of type {kind!r}", "SAM or SAM 2", remedy)
    model = transformers.SamModel if kind == "sam" else transformers.Sam2Model
    network, report = model.from_pretrained(source, local_files_only=local, output_loading_info=True)
    if missing := sorted(report["missing_keys"]):  # which transformers draws at random
        problem, remedy = f"no weights for {len(missing)} tensors such as {missing[0]}", "restore its files"
        raise SemplesError(source, problem, "a whole model", remedy)
    return network


def save_sam(network: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write the weights and the configuration of a model as one safetensors file; `metadata` is its provenance."""
    config: Any = network.config
    tensors = {name: value.detach().clone() for name, value in network.state_dict().items()}  # two names share one
    save_tensors(tensors, path, metadata | {CONFIG: json.dumps(config.to_dict(), sort_keys=True, default=str)})


def open_sam(path: Path) -> tuple[nn.Module, str]:
    """Return the model of a file that `save_sam` wrote, or of a folder, and the digest of its weights.

    Raises:
        SemplesError: The file or folder is missing, broken or of another kind.
    """
    expected, remedy = "SAM or SAM 2, by `semples weights` or `save_pretrained`", "correct `refine.sam.weights`"
    if not path.exists():
        raise SemplesError(path, "no such file or folder", expected, remedy)
    try:
        if path.is_dir():
            network = pretrained_sam(str(path), local=True)
            require_finite(network.state_dict(), path, remedy)
            return network.eval(), digest([[file.name, sha256(file)] for file in sorted(path.glob("*.safetensors"))])
        with safe_open(path, "pt") as file:
            config = json.loads(file.metadata()[CONFIG])
        transformers = import_transformers(*NEEDED_BY)
        model = transformers.SamModel if config["model_type"] == "sam" else transformers.Sam2Model
        network = model(model.config_class.from_dict(config))
        return network.eval(), load_module(network, path, "weights")
    except SemplesError:
        raise
    except Exception as error:  # of the library, which has many
        problem = f"unreadable: {str(error).splitlines()[:1]}"
        raise SemplesError(path, problem, expected, remedy) from error
