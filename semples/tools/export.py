"""export: write a trained segmentation network as ONNX or TorchScript, and compare it with the original."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from semples.errors import SemplesError
from semples.files import atomic_path
from semples.inference.segmentation import TrainedSegmenter, load_segmenter

TOLERANCE = 1e-4


def run(checkpoint: Path, format: str, size: tuple[int, int], out: Path) -> None:
    """Write the network of `checkpoint` to `out`, as `format` onnx or torchscript.

    Its input `image` is RGB float32 (1, 3, *size) in [0, 1]; its output `scores` are logits, float32 (1, classes + 1,
    *size), background first. An error says if a score differs by more than 1e-4 from the network's.
    """
    trained = load_segmenter(checkpoint)
    torch.manual_seed(0)
    image = torch.rand(1, 3, *size)
    write = {"onnx": _write_onnx, "torchscript": _write_script}[format]
    with torch.no_grad(), atomic_path(out) as partial:
        expected = trained.network(image).numpy()
        difference = float(np.abs(write(trained, image, partial) - expected).max())
        if not difference <= TOLERANCE:
            problem, remedy = f"scores that differ by {difference:.1e}", "report it with the network's name"
            raise SemplesError(out, problem, f"at most {TOLERANCE} from the network's", remedy)
    print(f"{out}: largest difference of a score {difference:.1e}, scores up to {np.abs(expected).max():.1f}")


def _write_onnx(trained: TrainedSegmenter, image: torch.Tensor, path: Path) -> np.ndarray:
    """Write the graph with the class names in its metadata; return its scores of the image."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ImportError as error:
        remedy = "run `pip install onnx onnxruntime onnxscript`, or `pip install '.[export]'` in a checkout"
        raise SemplesError("--format onnx", f"no module {error.name!r}", "the ONNX packages", remedy) from error
    names = {"input_names": ["image"], "output_names": ["scores"]}
    export: Callable[..., object] = torch.onnx.export
    try:
        export(trained.network, (image,), path, dynamo=True, external_data=False, verbose=False, **names)
    except torch.onnx.OnnxExporterError as error:
        problem = f"{trained.settings.network}: {str(error).splitlines()[0]}"
        expected, remedy = "a network that ONNX can express", "use --format torchscript"
        raise SemplesError("--format onnx", problem, expected, remedy) from error
    model = onnx.load(path)
    model.metadata_props.add(key="classes", value=json.dumps(["background", *trained.classes.names]))
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"image": image.numpy()})[0]


def _write_script(trained: TrainedSegmenter, image: torch.Tensor, path: Path) -> np.ndarray:
    """Write the traced network; return its scores of the image."""
    with warnings.catch_warnings():  # the tracer warns that sizes become constants: the file is for one size
        warnings.simplefilter("ignore")
        torch.jit.trace(trained.network, image).save(path)
    return torch.jit.load(path)(image).numpy()
