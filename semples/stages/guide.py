"""guide: the frozen image-text model, made local, with the embeddings of class names and words."""

import json
import shutil
from pathlib import Path

import open_clip
import torch
from safetensors.torch import load_file, save_file

from semples.errors import SemplesError
from semples.files import atomic_path, require, sha256, write_text
from semples.manifest import read_classes
from semples.mini.world import WORDS
from semples.models.guide import Guide, load_guide
from semples.settings import Guide as GuideSettings
from semples.settings import Settings

PACKAGE = Path(__file__).parent.parent
MODEL_FILES = ("open_clip_config.json", "open_clip_model.safetensors")


def run(settings: Settings, classes_file: Path, out: Path) -> None:
    """Write the folder `out`: the model in open_clip's layout, texts.safetensors and words.txt.

    texts.safetensors has `texts` (classes, width) and `words` (words, width), float32, L2-normalised.
    """
    chosen = settings.guide
    name = f"local-dir:{PACKAGE / 'mini' / 'guide_weights'}" if chosen.model == "mini" else chosen.model
    guide = load_guide(name, chosen.pretrained, chosen.normalisation)
    classes, words = read_classes(classes_file), _words(chosen)
    with torch.no_grad(), atomic_path(out) as partial:
        partial.mkdir(parents=True)
        _export(name, guide, partial)
        texts = guide.encode_text([chosen.template.format(text) for text in classes.texts])
        spoken = guide.encode_text([chosen.template.format(word) for word in words])
        save_file({"texts": texts, "words": spoken}, partial / "texts.safetensors")
        write_text(partial / "words.txt", "".join(f"{word}\n" for word in words))
    print(f"guide {chosen.model}, {len(classes)} classes, {len(words)} words: {out}")


def open_folder(folder: Path, settings: Settings) -> tuple[Guide, dict[str, torch.Tensor], str]:
    """The guide that `run` wrote, its `texts` and `words`, and the digest of its weights."""
    weights = require(folder / MODEL_FILES[1], "guide")
    guide = load_guide(f"local-dir:{folder}", normalisation=settings.guide.normalisation)
    return guide, load_file(folder / "texts.safetensors"), sha256(weights)


def words_of(folder: Path) -> list[str]:
    """The words of a guide folder, in the order of their embeddings."""
    return require(folder / "words.txt", "guide").read_text(encoding="utf-8").splitlines()


def _words(chosen: GuideSettings) -> list[str]:
    if chosen.words:
        return chosen.words
    if chosen.model == "mini":
        return list(WORDS)
    return (PACKAGE / "words.txt").read_text(encoding="utf-8").split("\n")[:-1]


def _export(name: str, guide: Guide, folder: Path) -> None:
    """The model as open_clip's configuration and safetensors; a local folder's two files are copied."""
    if name.startswith("local-dir:"):
        for file in MODEL_FILES:
            source = Path(name.removeprefix("local-dir:")) / file
            if not source.exists():
                raise SemplesError(source, "no such file", f"the files {MODEL_FILES}", "complete the guide's folder")
            shutil.copyfile(source, folder / file)
        return
    visual = guide.clip.visual
    config = {
        "model_cfg": open_clip.get_model_config(name.removeprefix("hf-hub:")),
        "preprocess_cfg": {"mean": visual.image_mean, "std": visual.image_std},
    }
    (folder / MODEL_FILES[0]).write_text(json.dumps(config, indent=2), encoding="utf-8")
    save_file({key: value.contiguous() for key, value in guide.clip.state_dict().items()}, folder / MODEL_FILES[1])
