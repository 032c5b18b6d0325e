"""guide: save the frozen image-text model with the embeddings of class names and words."""

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import download_pretrained, download_pretrained_from_hf, get_pretrained_cfg
from safetensors.torch import save_file
from tqdm import tqdm

from semples.config.settings import GuideSettings, Settings
from semples.data.images import read_image
from semples.data.manifest import read_classes, read_manifest
from semples.errors import SemplesError
from semples.files import atomic_path, require, sha256, write_text
from semples.inference.views import as_batch
from semples.mini import GUIDE_WEIGHTS
from semples.mini.world import WORDS
from semples.models.guide import Guide, load_guide
from semples.weights.guide_folder import MODEL_FILES, set_centres
from semples.weights.tensor_file import save_tensors

_CENTRE_IMAGES = 1000
_LOCAL, _HUB = "local-dir:", "hf-hub:"


def run(settings: Settings, classes_file: Path, out: Path, manifest: Path | None = None) -> None:
    """Write the folder `out`: the model in open_clip's layout, texts.safetensors and words.txt.

    texts.safetensors has `texts` (classes, width) and `words` (words, width), float32, L2-normalised. As `guide.centre`
    says, it has the mean embeddings `image_centre` of training images, for which `manifest` is needed, and
    `text_centre` of the words, each (width,), which are subtracted from texts and words before the L2 normalisation.
    """
    section = settings.guide
    name = f"{_LOCAL}{GUIDE_WEIGHTS}" if section.model == "mini" else section.model
    listed = files("semples.config").joinpath("words.txt").read_text(encoding="utf-8").splitlines()
    words = section.words or (list(WORDS) if section.model == "mini" else listed)
    classes = read_classes(classes_file)
    for where, names in ((classes_file, classes.texts), ("guide.words", words)):
        if not names or not all(text.strip() for text in names):
            raise SemplesError(where, "an empty name" if names else "no class", "names for prompts", "fill them in")
    guide = _load(name, section)
    with torch.no_grad(), atomic_path(out) as partial:
        partial.mkdir(parents=True)
        _export(name, guide, partial)
        sentences, centres = [section.template.format(word) for word in words], {}
        if section.centre != "none":
            centres["image_centre"] = _mean_embedding(guide, manifest, settings.data.train)
        if section.centre == "both":
            centres["text_centre"] = guide.encode_text(sentences).mean(dim=0)
        set_centres(guide, centres)
        texts = guide.encode_classes(list(classes.texts), section.templates or [section.template])
        tensors = {"texts": texts, "words": guide.encode_text(sentences), **centres}
        save_tensors(tensors, partial / "texts.safetensors", {"classes": json.dumps(classes.names)})
        write_text(partial / "words.txt", "".join(f"{word}\n" for word in words))
    print(f"guide {section.model}, {len(classes)} classes, {len(words)} words: {out}")


def _mean_embedding(guide: Guide, manifest: Path | None, split: str) -> torch.Tensor:
    """Return the mean embedding (width,) of the split's images, of at most _CENTRE_IMAGES that are evenly spaced."""
    if manifest is None:
        raise SemplesError("guide.centre", "no manifest", "the images to take the mean of", "give --manifest")
    images = read_manifest(manifest).split(split).table["image"].tolist()
    images, total = images[:: -(-len(images) // _CENTRE_IMAGES)], torch.zeros(())
    for path in tqdm(images, desc="mean embedding", mininterval=2):
        pixels = as_batch([read_image(Path(path))], torch.device("cpu"), guide.image_size)
        total = total + guide.encode_image(guide.normalise(pixels))[0]
    return total / len(images)


def _load(name: str, section: GuideSettings) -> Guide:
    """Return the guide, after a download if need be."""
    if name in open_clip.list_models() and not section.pretrained:
        tags = open_clip.list_pretrained_tags_by_model(name)
        expected = f"one of {tags}, or the path of a file" if tags else "an open_clip model name that has weights"
        problem, remedy = f"none for {name!r}, which would be random weights", "set it, or correct `guide.model`"
        raise SemplesError("guide.pretrained", problem, expected, remedy)
    guide = load_guide(name, section.pretrained, section.normalisation, section.fill)
    if section.sha256 and (digest := sha256(path := _weights(name, section))) != section.sha256.lower():
        remedy = "delete the file and download it again, or correct `guide.sha256`"
        raise SemplesError(path, f"sha256 {digest}", f"sha256 {section.sha256}", remedy)
    return guide


def _weights(name: str, section: GuideSettings) -> Path:
    """Return the file of weights that open_clip has loaded."""
    if name.startswith(_LOCAL):
        return require(Path(name.removeprefix(_LOCAL)) / MODEL_FILES[1], "guide")
    if name.startswith(_HUB):
        return Path(download_pretrained_from_hf(name.removeprefix(_HUB)))
    downloaded = download_pretrained(get_pretrained_cfg(name, section.pretrained or ""))
    return Path(downloaded) if downloaded else require(Path(section.pretrained or "no weights"), "guide")


def _export(name: str, guide: Guide, folder: Path) -> None:
    """Write the model as open_clip's configuration and safetensors; copy the two files of a local folder."""
    config = folder / MODEL_FILES[0]
    if name.startswith(_LOCAL):
        for source in (Path(name.removeprefix(_LOCAL), file) for file in MODEL_FILES):
            if not source.exists():
                raise SemplesError(source, "no such file", f"the files {MODEL_FILES}", "complete the guide's folder")
            shutil.copyfile(source, folder / source.name)
        return
    if name.startswith(_HUB):
        shutil.copyfile(download_pretrained_from_hf(name.removeprefix(_HUB), filename=MODEL_FILES[0]), config)
    else:
        visual: Any = guide.clip.visual
        preprocessing = {"mean": visual.image_mean, "std": visual.image_std}
        values = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": preprocessing}
        write_text(config, json.dumps(values, indent=2))
    save_file({key: value.contiguous() for key, value in guide.clip.state_dict().items()}, folder / MODEL_FILES[1])
