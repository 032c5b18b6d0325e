"""guide: the frozen image-text model, made local, with the embeddings of class names and words."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

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

CENTRE_IMAGES = 1000


def run(settings: Settings, classes_file: Path, out: Path, manifest: Path | None = None) -> None:
    """Write the folder `out`: the model in open_clip's layout, texts.safetensors and words.txt.

    texts.safetensors has `texts` (classes, width) and `words` (words, width), float32, L2-normalised. As `guide.centre`
    says, there are the mean embeddings, `image_centre` of the manifest's training images and `text_centre` of the
    words, each (width,), and with the latter texts and words are centred.
    """
    chosen = settings.guide
    name = f"local-dir:{GUIDE_WEIGHTS}" if chosen.model == "mini" else chosen.model
    classes, words = read_classes(classes_file), _words(chosen)
    _expect_names(classes_file, classes.texts, words)
    guide = _fetched(name, chosen)
    with torch.no_grad(), atomic_path(out) as partial:
        partial.mkdir(parents=True)
        _export(name, guide, partial)
        sentences, centres = [chosen.template.format(word) for word in words], {}
        if chosen.centre != "none":
            centres["image_centre"] = _mean_embedding(guide, _training_images(manifest, settings.data.train))
        if chosen.centre == "both":
            centres["text_centre"] = guide.encode_text(sentences).mean(dim=0)
        set_centres(guide, centres)
        texts = guide.encode_classes(list(classes.texts), chosen.templates or [chosen.template])
        spoken = guide.encode_text(sentences)
        save_file({"texts": texts, "words": spoken, **centres}, partial / "texts.safetensors")
        write_text(partial / "words.txt", "".join(f"{word}\n" for word in words))
    print(f"guide {chosen.model}, {len(classes)} classes, {len(words)} words: {out}")


def _training_images(manifest: Path | None, split: str) -> list[str]:
    """Files of the split, at most CENTRE_IMAGES of them, evenly spaced."""
    if manifest is None:
        raise SemplesError("guide.centre", "no manifest", "the images to take the mean of", "give --manifest")
    images = read_manifest(manifest).split(split).table["image"].tolist()
    return images[:: -(-len(images) // CENTRE_IMAGES)]


def _mean_embedding(guide: Guide, images: list[str]) -> torch.Tensor:
    """Mean of the images' embeddings, (width,)."""
    total = 0
    for path in tqdm(images, desc="mean embedding", mininterval=2):
        pixels = as_batch([read_image(path)], torch.device("cpu"), guide.image_size)
        total = total + guide.encode_image(guide.normalise(pixels))[0]
    return total / len(images)


def _words(chosen: GuideSettings) -> list[str]:
    if chosen.words:
        return chosen.words
    if chosen.model == "mini":
        return list(WORDS)
    return files("semples.config").joinpath("words.txt").read_text(encoding="utf-8").split("\n")[:-1]


def _expect_names(classes_file: Path, texts: tuple[str, ...], words: list[str]) -> None:
    if not texts:
        raise SemplesError(classes_file, "no class", "a line a class: name, text, colour", "list the classes")
    for where, names in ((classes_file, texts), ("guide.words", words)):
        if not all(name.strip() for name in names):
            raise SemplesError(where, "an empty name", "words that a prompt can hold", "fill it or take it out")


def _fetched(name: str, chosen: GuideSettings) -> Guide:
    """The guide, its weights fetched if need be; an error where it has none, or others than `guide.sha256` says."""
    if name in open_clip.list_models() and not chosen.pretrained:
        known = open_clip.list_pretrained_tags_by_model(name)
        raise SemplesError(
            "guide.pretrained",
            f"none for {name!r}, which would be random weights",
            f"one of {known}, or the path of a file" if known else "an open_clip model name that has weights",
            "set `guide.pretrained`, or correct `guide.model`",
        )
    guide = load_guide(name, chosen.pretrained, chosen.normalisation, chosen.fill)
    if chosen.sha256:
        _expect_digest(name, chosen)
    return guide


def _expect_digest(name: str, chosen: GuideSettings) -> None:
    if name.startswith("local-dir:"):
        path = require(Path(name.removeprefix("local-dir:")) / MODEL_FILES[1], "guide")
    elif name.startswith("hf-hub:"):
        path = Path(download_pretrained_from_hf(name.removeprefix("hf-hub:")))
    else:
        fetched = download_pretrained(get_pretrained_cfg(name, chosen.pretrained or ""))
        path = Path(fetched) if fetched else require(Path(chosen.pretrained or "no weights"), "guide")
    if (found := sha256(path)) != chosen.sha256.lower():
        raise SemplesError(
            path,
            f"sha256 {found}",
            f"sha256 {chosen.sha256}",
            "delete the file and fetch it again, or correct `guide.sha256`",
        )


def _export(name: str, guide: Guide, folder: Path) -> None:
    """The model as open_clip's configuration and safetensors; a local folder's two files are copied."""
    if name.startswith("local-dir:"):
        for file in MODEL_FILES:
            source = Path(name.removeprefix("local-dir:")) / file
            if not source.exists():
                raise SemplesError(source, "no such file", f"the files {MODEL_FILES}", "complete the guide's folder")
            shutil.copyfile(source, folder / file)
        return
    if name.startswith("hf-hub:"):
        shutil.copyfile(
            download_pretrained_from_hf(name.removeprefix("hf-hub:"), filename=MODEL_FILES[0]), folder / MODEL_FILES[0]
        )
    else:
        visual = guide.clip.visual
        config = {
            "model_cfg": open_clip.get_model_config(name),
            "preprocess_cfg": {"mean": visual.image_mean, "std": visual.image_std},
        }
        write_text(folder / MODEL_FILES[0], json.dumps(config, indent=2))
    save_file({key: value.contiguous() for key, value in guide.clip.state_dict().items()}, folder / MODEL_FILES[1])
