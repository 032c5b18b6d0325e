"""The folder that `semples guide` writes: an open_clip model and its text embeddings."""

import json
from pathlib import Path

import torch
from safetensors import safe_open

from semples.config.settings import Settings
from semples.data.manifest import Classes
from semples.errors import SemplesError
from semples.files import require, sha256
from semples.models.guide import Guide, load_guide
from semples.weights.tensor_file import read_tensors, require_finite

MODEL_FILES = ("open_clip_config.json", "open_clip_model.safetensors")


def open_folder(folder: Path, settings: Settings, classes: Classes) -> tuple[Guide, dict[str, torch.Tensor], str]:
    """Return the guide of a folder that `semples guide` wrote, its tensors by name, and the digest of its weights.

    The tensors are `texts` (classes, width) and `words` (words, width), L2-normalised, and centres if there are any.
    An error says if the guide was made for other classes.
    """
    weights = require(folder / MODEL_FILES[1], "guide")
    section = settings.guide
    guide = load_guide(f"local-dir:{folder}", None, section.normalisation, section.fill, section.align_corners)
    require_finite(guide.clip.state_dict(), weights, "name another `guide.model`")
    texts = read_tensors(folder / "texts.safetensors", "guide", "texts", "words")
    with safe_open(folder / "texts.safetensors", "pt") as file:
        names = json.loads((file.metadata() or {}).get("classes", "[]"))  # none of a folder of an earlier version
    if len(texts["texts"]) != len(classes) or (names and names != list(classes.names)):
        problem, expected = f"texts of {len(texts['texts'])} classes {names}", f"the manifest's {list(classes.names)}"
        raise SemplesError(folder, problem, expected, "run `semples guide` again, with the manifest's classes.csv")
    set_centres(guide, texts)
    return guide, texts, sha256(weights)


def set_centres(guide: Guide, centres: dict[str, torch.Tensor]) -> None:
    """Set those of `image_centre` and `text_centre`, each (width,), that `centres` has."""
    guide.image_centre = centres.get("image_centre", guide.image_centre)
    guide.text_centre = centres.get("text_centre", guide.text_centre)


def words_of(folder: Path) -> list[str]:
    """Return the words of a guide folder, in the order of their embeddings."""
    return require(folder / "words.txt", "guide").read_text(encoding="utf-8").splitlines()
