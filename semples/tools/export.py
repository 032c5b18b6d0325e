"""export: a trained segmentation network as ONNX or TorchScript, compared with the original."""

import json
import warnings
from pathlib import Path

import numpy as np
import torch

from semples.errors import SemplesError
from semples.files import atomic_path
from semples.inference.segmentation import TrainedSegmenter, load_segmenter

TOLERANCE = 1e-4


def run(checkpoint: Path, kind: str, height: int, width: int, out: Path) -> None:
    """Write the network at `checkpoint` to `out`; `kind` is `onnx` or `torchscript`.

    In: `image`, RGB float32 (1, 3, height, width) in [0, 1]. Out: `scores`, logits float32 (1, classes + 1, height,
    width), background first. The file is kept only if its scores differ by at most 1e-4 from the network's.
    """
    trained = load_segmenter(checkpoint)
    torch.manual_seed(0)
    image = torch.rand(1, 3, height, width)
    write, scores_of = {"onnx": (_write_onnx, _onnx_scores), "torchscript": (_write_script, _script_scores)}[kind]
    with torch.no_grad(), atomic_path(out) as partial:
        expected = trained.network(image).numpy()
        write(trained, image, partial)
        difference = float(np.abs(scores_of(partial, image) - expected).max())
        if not difference <= TOLERANCE:
            found, remedy = f"scores that differ by {difference:.1e}", "report it with the network's name"
            raise SemplesError(out, found, f"at most {TOLERANCE} from the network's", remedy)
    print(f"{out}: greatest difference of a score {difference:.1e}, scores up to {np.abs(expected).max():.1f}")


def _write_onnx(trained: TrainedSegmenter, image: torch.Tensor, path: Path) -> None:
    """The graph with the class names in its metadata."""
    onnx, _ = _onnx()
    names = {"input_names": ["image"], "output_names": ["scores"]}
    try:
        torch.onnx.export(trained.network, (image,), path, dynamo=True, external_data=False, verbose=False, **names)
    except torch.onnx.OnnxExporterError as error:
        name = trained.settings.network
        found = f"{name}: {str(error).splitlines()[0]}"
        raise SemplesError("--format onnx", found, "a network that ONNX can say", "use --format torchscript") from error
    model = onnx.load(path)
    model.metadata_props.add(key="classes", value=json.dumps(["background", *trained.classes.names]))
    onnx.save(model, path)


def _onnx_scores(path: Path, image: torch.Tensor) -> np.ndarray:
    _, onnxruntime = _onnx()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"image": image.numpy()})[0]


def _write_script(trained: TrainedSegmenter, image: torch.Tensor, path: Path) -> None:
    with warnings.catch_warnings():  # sizes become constants: the file is for one size
        warnings.simplefilter("ignore")
        torch.jit.trace(trained.network, image).save(path)


def _script_scores(path: Path, image: torch.Tensor) -> np.ndarray:
    return torch.jit.load(path)(image).numpy()


def _onnx():
    """onnx and onnxruntime, which are an optional extra; torch's exporter needs onnxscript besides."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SemplesError(
            "--format onnx", f"no module {error.name!r}", "the optional extra `export`", "pip install 'semples[export]'"
        ) from error
    return onnx, onnxruntime
