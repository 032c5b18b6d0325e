"""heatmap: where in a picture the guide sees a text or a prompt, as PNG and PDF."""

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
from semples.training.prompts import load_prompts
from semples.weights import guide_folder

NAME = "name of the class"


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
    """Write the PNG `out` and a PDF: a row an image; columns image, a heat map for each of `texts` and `prompts`.

    `prompts` are (title, prompts.safetensors), of which the prompt of the image's first class is looked for; with
    `names` its name is, too. The images are drawn as for a panel. Every heat map is stretched to its own lowest and
    highest cosine.
    """
    if not (prompts or texts or names):
        raise SemplesError("heatmap", "nothing to look for", "words, or prompts", "give --text or --prompts")
    images = read_manifest(manifest).split(split).with_labels()
    images = images.sample(settings.figures.images, settings.figures.seed)
    model, classes, _ = guide_folder.open_folder(guide, settings)
    learned = {title: load_prompts(path).mean(dim=1) for title, path in prompts}  # classes, width
    banks = ({NAME: classes["texts"]} if names else {}) | learned
    with torch.inference_mode():
        sentences = [settings.guide.template.format(text) for text in texts]
        spoken = [model.encode_text(sentences)] if texts else []
    rows, shown = [], [int(labels.argmax()) for labels in images.label_matrix()]
    for path, klass in zip(images.table["image"], shown, strict=True):
        photo = read_image(path)
        heats = heat_maps(model, photo, torch.cat([*spoken, *(bank[klass : klass + 1] for bank in banks.values())]))
        pictures = {title: heat_overlay(photo, heat) for title, heat in zip([*texts, *banks], heats, strict=True)}
        rows.append({"image": photo} | pictures)
    save_grid(rows, out, [images.classes.names[klass] for klass in shown])


@torch.inference_mode()
def heat_maps(guide: Guide, photo: np.ndarray, embeddings: torch.Tensor) -> np.ndarray:
    """How near the guide's patch tokens are to L2-normalised embeddings (n, width), each map stretched to [0, 1].

    `photo` is uint8 RGB (height, width, 3). Returns float32 (n, height, width).
    """
    pixels = guide.normalise(as_batch([photo], guide.mean.device))
    cosines = guide.patch_cosines(pixels, embeddings)[0]
    low, high = cosines.amin(dim=(1, 2), keepdim=True), cosines.amax(dim=(1, 2), keepdim=True)
    stretched = ((cosines - low) / (high - low).clamp(min=1e-8)).numpy()
    return resize_map(stretched, *photo.shape[:2])
