"""weights: download the weights that classify, segment or refine starts from into a file."""

from pathlib import Path

import segmentation_models_pytorch as smp
import timm
from torch import nn

from semples.errors import SemplesError
from semples.models.optional import import_transformers
from semples.models.segmenters.mask2former import NEEDED_BY, STAGES, SWIN
from semples.provenance import provenance
from semples.weights.generators import backbone_of, save_module
from semples.weights.sam import pretrained_sam, save_sam


def run(library: str, model: str, out: Path) -> None:
    """Write the safetensors file `out` with the weights of a backbone, without classifier head, or with a whole SAM.

    Args:
        library: "timm", "smp" (segmentation-models-pytorch; `tu-` stands before a timm name), "transformers" or "sam".
        model: Name of the backbone there; of SAM or SAM 2 its id on the Hugging Face Hub.
    Raises:
        SemplesError: The library has no such weights, or its server is out of reach.
    """
    try:
        network = pretrained_sam(model, local=False) if library == "sam" else _download(library, model)
    except SemplesError:
        raise
    except Exception as error:  # of the libraries and their HTTP clients
        problem, *_ = str(error).splitlines() or [type(error).__name__]
        expected = "a model with weights, and a connection to its server"
        remedy = "correct the name, run it where there is a network, or name a file in `weights` of the settings"
        raise SemplesError(f"weights {library}/{model}", problem, expected, remedy) from error
    save = save_sam if library == "sam" else save_module
    save(network, out, provenance("weights", {}, library=library, model=model))
    print(f"{library}/{model}: {out}")


def _download(library: str, model: str) -> nn.Module:
    if library == "timm":
        return timm.create_model(model, pretrained=True, num_classes=0)
    if library == "smp":
        return backbone_of(smp.encoders.get_encoder(model, weights=model.startswith("tu-") or "imagenet"))
    return import_transformers(*NEEDED_BY).AutoBackbone.from_pretrained(SWIN[model][-1], out_features=STAGES)
