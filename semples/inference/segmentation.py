"""A trained segmentation network at work: masks of photographs, and the file that such a network is."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

from semples.config.load import check
from semples.config.settings import Segment
from semples.data.images import read_image, write_mask
from semples.data.manifest import Classes, Manifest
from semples.errors import SemplesError
from semples.files import require
from semples.inference.cams import same_size_batches
from semples.inference.crf import PRESETS, dense_crf
from semples.inference.views import as_batch, averaged, windowed
from semples.models.segmenters import Segmenter
from semples.weights.module_file import load_module

CRF_ITERATIONS = 10
LEAST_PROBABILITY = 1e-5


@dataclass(frozen=True)
class TrainedSegmenter:
    """A network with what it needs to be used: its settings and its classes."""

    network: Segmenter
    settings: Segment
    classes: Classes


def new_network(chosen: Segment, classes: int) -> Segmenter:
    """Return the network that the settings name, with random weights."""
    return Segmenter(chosen.network, chosen.encoder, classes, chosen.decoder_channels)


def describe_classes(classes: Classes) -> str:
    """The classes as JSON, for a checkpoint's metadata."""
    return json.dumps([classes.names, classes.texts, classes.colours])


def load_segmenter(path: Path) -> TrainedSegmenter:
    """The network of a model.safetensors that `semples segment` wrote, in evaluation mode."""
    expected = "a model.safetensors that `semples segment` wrote"
    try:
        with safe_open(require(path, "segment"), "pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise SemplesError(path, f"unreadable: {error}", expected, "name another file") from error
    if "classes" not in metadata:
        raise SemplesError(path, f"metadata {sorted(metadata)}", expected, "train it with `semples segment`")
    settings = check(Segment, json.loads(metadata["settings"])["segment"], str(path))
    classes = Classes(*map(tuple, json.loads(metadata["classes"])))
    network = new_network(settings, len(classes))
    load_module(network, path, "segment")
    return TrainedSegmenter(network.eval(), settings, classes)


def probabilities(network: torch.nn.Module, images: Tensor, chosen: Segment, size: tuple[int, int]) -> Tensor:
    """Class probabilities (batch, classes + 1, *size), float32: mean over the test scales, flips and windows.

    `images` (batch, 3, h, w) in [0, 1]; `size` is (height, width).
    """
    return averaged(
        lambda x: windowed(network, x, chosen.test_window, chosen.test_overlap).softmax(1),
        images,
        chosen.test_scales,
        chosen.test_flip,
        size,
    )


@torch.inference_mode()
def masks_of(
    network: torch.nn.Module, pictures: list[np.ndarray], chosen: Segment, device: torch.device
) -> list[np.ndarray]:
    """Class indices uint8 (height, width) of RGB uint8 (height, width, 3) pictures of one size."""
    shape = pictures[0].shape[:2]
    found = probabilities(network, as_batch(pictures, device, chosen.test_size), chosen, shape).cpu().numpy()
    if chosen.test_crf == "none":
        return list(found.argmax(axis=1).astype(np.uint8))
    kernels = PRESETS[chosen.test_crf]
    energies = -np.log(np.clip(found, LEAST_PROBABILITY, 1))
    refined = [dense_crf(picture, e, kernels, CRF_ITERATIONS) for picture, e in zip(pictures, energies, strict=True)]
    return [probability.argmax(axis=0).astype(np.uint8) for probability in refined]


def predicted(
    network: torch.nn.Module, images: Manifest, chosen: Segment, batch: int, device: torch.device
) -> Iterator[tuple[int, np.ndarray]]:
    """Row and mask, uint8 (height, width), of every image of the manifest, those of one size together."""
    for rows in same_size_batches(images, batch):
        pictures = [read_image(images.table["image"][row]) for row in rows]
        yield from zip(rows, masks_of(network, pictures, chosen, device), strict=True)


def write_predictions(
    network: torch.nn.Module, images: Manifest, chosen: Segment, batch: int, device: torch.device, folder: Path
) -> None:
    """Write the palette PNG `folder`/<id>.png of every image, at its own size."""
    found = predicted(network, images, chosen, batch, device)
    for row, mask in tqdm(found, total=len(images), desc="predict", unit="image", mininterval=2):
        path = folder / f"{images.table['id'][row]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, mask, images.classes.palette())
