"""heatmap: draw where in an image the guide sees a text or a prompt, as PNG and PDF."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from semples.config.settings import Settings
from semples.data.images import heat_overlay, read_image, resize_map
from semples.data.manifest import read_manifest
from semples.errors import SemplesError
from semples.figure_style import save_grid
from semples.inference.views import as_batch
from semples.models.guide import Guide
from semples.models.guide_maps import label_maps
from semples.training.prompts import load_prompts
from semples.weights import guide_folder


def run(
    settings: Settings,
    manifest: Path,
    split: str,
    guide: Path,
    prompts: Sequence[tuple[str, Path]],
    texts: Sequence[str],
    names: bool,
    out: Path,
) -> None:
    """Draw a row per image of a panel: the image, and a heat map for each of `texts` and `prompts`.

    Args:
        prompts: (title, prompts.safetensors); the heat map is of the prompt of the image's first class.
        names: Also draw the heat map of that class's name.
    """
    if not (prompts or texts or names):
        raise SemplesError("heatmap", "no text", "texts or prompts to look for", "give --text, --names or --prompts")
    images = read_manifest(manifest).split(split).with_labels().sample(settings.figures.images, settings.figures.seed)
    model, classes, _ = guide_folder.open_folder(guide, settings, images.classes)
    banks = {"name of the class": classes["texts"]} if names else {}
    banks |= {title: load_prompts(path, len(images.classes)).mean(dim=1) for title, path in prompts}  # classes, width
    with torch.no_grad():
        embeddings = [model.encode_text([settings.guide.template.format(text) for text in texts])] if texts else []
    rows, indices = [], images.label_matrix().argmax(axis=1)
    for path, k in zip(images.table["image"], indices, strict=True):
        image = read_image(Path(path))
        shown = torch.cat([*embeddings, *(bank[k : k + 1] for bank in banks.values())])
        heats = heat_maps(model, image, shown, settings.guide_maps.affinity_blocks)
        overlays = {title: heat_overlay(image, heat) for title, heat in zip([*texts, *banks], heats, strict=True)}
        rows.append({"image": image} | overlays)
    save_grid(rows, out, [images.classes.names[k] for k in indices])


def heat_maps(guide: Guide, image: np.ndarray, embeddings: torch.Tensor, affinity_blocks: int) -> np.ndarray:
    """Return the Grad-CAM of the image's cosine with each embedding, smoothed by attention (semples.models.guide_maps).

    Args:
        image: RGB uint8 (height, width, 3).
        embeddings: L2-normalised, (n, width).

    Returns:
        float32 (n, height, width); each map is stretched to [0, 1], from its own lowest to its highest value.
    """
    pixels = guide.normalise(as_batch([image], guide.mean.device))
    (maps,) = label_maps(guide, pixels, embeddings, embeddings[:0], "gradcam", "cosine", affinity_blocks)
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return resize_map(((maps - low) / (high - low).clamp(min=1e-8)).numpy(), *image.shape[:2])
