"""heatmap: where in a picture the guide sees a text or a prompt, as PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from semples.errors import SemplesError
from semples.images import heat_overlay, read_image, resize_map
from semples.manifest import read_manifest
from semples.models.guide import Guide
from semples.models.inference import as_batch
from semples.settings import Settings
from semples.stages import guide as guide_stage
from semples.stages.figures import save_grid
from semples.stages.learning import load_prompts

LEARNED = "learned prompt"


def run(
    settings: Settings,
    manifest: Path,
    split: str,
    guide: Path,
    prompts: Path | None,
    texts: Sequence[str],
    out: Path,
) -> None:
    """Write the PNG `out`: a row an image; columns image, a heat map for each of `texts`, one for the prompt.

    The prompt is that of the image's first class. The images are drawn as for a panel. Every heat map is stretched to
    its own lowest and highest cosine.
    """
    if prompts is None and not texts:
        raise SemplesError("heatmap", "nothing to look for", "words, or prompts", "give --text or --prompts")
    images = read_manifest(manifest).split(split).with_labels()
    images = images.sample(settings.figures.images, settings.figures.seed)
    model, _, _ = guide_stage.open_folder(guide, settings)
    learned = load_prompts(prompts) if prompts else None
    with torch.inference_mode():
        spoken = model.encode_text([settings.guide.template.format(text) for text in texts]) if texts else None
    rows = []
    for path, labels in zip(images.table["image"], images.label_matrix(), strict=True):
        parts = [] if spoken is None else [spoken]
        if learned is not None:
            parts.append(learned[labels.argmax()].mean(dim=0, keepdim=True))
        photo = read_image(path)
        heats = heat_maps(model, photo, torch.cat(parts))
        titles = [*texts, *([LEARNED] if learned is not None else [])]
        pictures = {title: heat_overlay(photo, heat) for title, heat in zip(titles, heats, strict=True)}
        rows.append({"image": photo} | pictures)
    save_grid(rows, out)


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
