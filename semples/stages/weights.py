"""weights: download the ImageNet weights that classify or segment starts from into a file."""

from pathlib import Path

import segmentation_models_pytorch as smp
import timm
from torch import nn

from semples.errors import SemplesError
from semples.models.segmenters.mask2former import STAGES, SWIN, import_transformers
from semples.provenance import provenance
from semples.weights.generators import backbone_of, save_module


def run(library: str, model: str, out: Path) -> None:
    """Write the safetensors file `out` with the weights of a backbone, without classifier head.

    Args:
        library: "timm", "smp" (segmentation-models-pytorch; `tu-` stands before a timm name) or "transformers".
        model: Name of the backbone there.
    Raises:
        SemplesError: The library has no such weights, or its server is out of reach.
    """
    try:
        backbone = _download(library, model)
    except SemplesError:
        raise
    except Exception as error:  # of three libraries and their HTTP clients
        problem, *_ = str(error).splitlines() or [type(error).__name__]
        expected = "a model with ImageNet weights, and a connection to its server"
        remedy = "correct the name, run it where there is a network, or name a file in `weights` of the settings"
        raise SemplesError(f"weights {library}/{model}", problem, expected, remedy) from error
    save_module(backbone, out, provenance("weights", {}, library=library, model=model))
    print(f"{library}/{model}: {out}")


def _download(library: str, model: str) -> nn.Module:
    if library == "timm":
        return timm.create_model(model, pretrained=True, num_classes=0)
    if library == "smp":
        return backbone_of(smp.encoders.get_encoder(model, weights=model.startswith("tu-") or "imagenet"))
    return import_transformers().AutoBackbone.from_pretrained(SWIN[model][-1], out_features=STAGES)
