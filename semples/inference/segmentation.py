"""Trained segmentation networks: load one from its file, predict masks of photographs."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from semples.config.load import check
from semples.config.settings import Segment
from semples.data.images import read_image, shrink, write_mask
from semples.data.manifest import Classes, Manifest
from semples.errors import SemplesError
from semples.files import require
from semples.inference.cams import same_size_batches
from semples.inference.crf import LEAST_PROBABILITY, PRESETS, dense_crf
from semples.inference.views import as_batch, average_views, average_windows
from semples.models.segmenters import Segmenter
from semples.runtime.devices import make_fabric
from semples.weights.generators import load_module

CRF_ITERATIONS = 10


class TrainedSegmenter(NamedTuple):
    """A trained network with its settings and its classes."""

    network: Segmenter
    settings: Segment
    classes: Classes


def describe_classes(classes: Classes) -> str:
    """Return the classes as JSON, for the metadata of a network's file."""
    return json.dumps([classes.names, classes.texts, classes.colours])


def load_segmenter(path: Path, expected_classes: Classes | None = None) -> TrainedSegmenter:
    """Load the network of a model.safetensors that `semples segment` wrote, in evaluation mode.

    Raises:
        SemplesError: The file is no such network, or it has other classes than those of the manifest, if these matter.
    """
    expected, remedy = "a model.safetensors that `semples segment` wrote", "train it with `semples segment`"
    try:
        with safe_open(require(path, "segment"), "pt") as file:
            metadata = file.metadata() or {}
        values = json.loads(metadata["settings"])["segment"]
        classes = Classes(*(tuple(map(str, texts)) for texts in json.loads(metadata["classes"])))
    except (SafetensorError, OSError) as error:
        raise SemplesError(path, f"unreadable: {error}", expected, "name another file") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SemplesError(path, f"metadata {sorted(metadata)}", expected, remedy) from error
    if expected_classes and expected_classes.names != classes.names:
        problem, wanted = f"classes {', '.join(classes.names)}", f"the manifest's {', '.join(expected_classes.names)}"
        raise SemplesError(path, problem, wanted, "name the network that was trained on this data set")
    settings = check(Segment, values, str(path))
    network = Segmenter(settings.network, settings.encoder, len(classes), settings.decoder_channels)
    load_module(network, path, "segment")
    return TrainedSegmenter(network.eval(), settings, classes)


class Predictor:
    """Predict the masks of photographs with a network that `semples segment` trained.

    Args:
        path: model.safetensors.
        device: "auto", "cpu", "cuda" or "mps".
        max_side: The network gets larger photographs downscaled to this side, in pixels.
        scales: Test scales instead of those of the training settings, if there are any.
    Attributes:
        classes: Class names by mask value; "background" is first.
        palette: RGB uint8 (256, 3), the colour of each mask value in its PNG.
        shown_palette: The same for pictures to look at.
        settings: Those of the network, with these test scales.
    """

    def __init__(
        self, path: str | Path, device: str = "auto", max_side: int = 1024, scales: Sequence[float] = ()
    ) -> None:
        trained = load_segmenter(Path(path))
        self.classes, self.palette = ("background", *trained.classes.names), trained.classes.palette()
        self.shown_palette = trained.classes.shown_palette()
        self.max_side = max_side
        self.settings = trained.settings.model_copy(update={"test_scales": list(scales)} if scales else {})
        fabric = make_fabric(device, "auto")
        self._network, self._device = fabric.setup_module(trained.network), fabric.device

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Return the class indices, uint8 (height, width), background 0, of an image RGB uint8 (height, width, 3)."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            problem, remedy = f"{image.dtype} {image.shape}", "read it with PIL's Image.open(path).convert('RGB')"
            raise SemplesError("image", problem, "RGB uint8 (height, width, 3)", remedy)
        small = shrink(image, None, self.max_side)[0] if max(image.shape) > self.max_side else image
        (mask,) = predict_masks(self._network, [small], self.settings, self._device)
        return cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)


@torch.inference_mode()
def predict_masks(
    network: torch.nn.Module, photos: list[np.ndarray], settings: Segment, device: torch.device
) -> list[np.ndarray]:
    """Return class indices uint8 (height, width) of photographs of one size.

    Args:
        network: Maps images (batch, 3, h, w) in [0, 1] to logits (batch, classes + 1, h, w).
        photos: RGB uint8 (height, width, 3).
        settings: Test scales, mirror images, windows and CRF, over which class probabilities are averaged.
    """

    def probabilities(images: torch.Tensor) -> torch.Tensor:
        return average_windows(network, images, settings.test_window, settings.test_overlap).softmax(1)

    batch, size = as_batch(photos, device, settings.test_size), photos[0].shape[:2]
    planes = average_views(probabilities, batch, settings.test_scales, settings.test_flip, size).cpu().numpy()
    if settings.test_crf == "none":
        return list(planes.argmax(axis=1).astype(np.uint8))
    pairs = zip(photos, -np.log(np.clip(planes, LEAST_PROBABILITY, 1)), strict=True)
    refined = (dense_crf(photo, energy, PRESETS[settings.test_crf], CRF_ITERATIONS) for photo, energy in pairs)
    return [probability.argmax(axis=0).astype(np.uint8) for probability in refined]


def predict(
    network: torch.nn.Module, images: Manifest, settings: Segment, batch: int, device: torch.device
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield row and mask, uint8 (height, width), of every image; images of one size follow each other."""
    for rows in same_size_batches(images, batch):
        photos = [read_image(images.table["image"][row]) for row in rows]
        yield from zip(rows, predict_masks(network, photos, settings, device), strict=True)


def write_predictions(
    network: torch.nn.Module, images: Manifest, settings: Segment, batch: int, fabric: Fabric, folder: Path
) -> None:
    """Write the palette PNG `folder`/<id>.png of every image, at its own size."""
    masks = predict(fabric.setup_module(network), images, settings, batch, fabric.device)
    for row, mask in tqdm(masks, total=len(images), desc="predict", unit="image", mininterval=2):
        path = folder / f"{images.table['id'][row]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, mask, images.classes.palette())
