"""cams: write the CAMs of whole images, by a generator, by the guide or of another method, into one HDF5 file."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semples.config.settings import Settings
from semples.data.cam_file import CamFile
from semples.data.foreign_maps import MaskFolder, cams_digest, open_cams
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.inference.cams import ImageScores, batches_of_scores, write_scores
from semples.inference.fusion import fused_scores
from semples.inference.guide_maps import guide_scores
from semples.provenance import machine, provenance
from semples.runtime.parallel import shard_slice
from semples.training.job import used_settings
from semples.weights import guide_folder
from semples.weights.generators import trained_generator

log = logging.getLogger(__name__)
SMALL = 0.5  # side of an image, relative to the training images', below which maps are coarser than those that learned


def run(
    settings: Settings,
    manifest: Path,
    split: str,
    generator: Path | None,
    out: Path,
    shard: str | None = None,
    foreign: Path | None = None,
    guide: Path | None = None,
    maps: Path | None = None,
) -> None:
    """Write the CAMs of the present classes of every labelled image of `split` to the HDF5 file `out`.

    Args:
        generator: model.safetensors of the stage `masks_from`, if it is one that trains.
        shard: Share of the images, such as "2-of-4"; None for all.
        foreign: Maps of another method, for `masks_from: foreign`.
        guide: Folder that `semples guide` wrote, for `masks_from: guide`.
        maps: The guide's own maps of these images, for `cams.fuse`.
    """
    whole = read_manifest(manifest).split(split).with_labels()
    inputs = {"manifest": whole.digest(), "split": split, "stride": str(settings.cams.stride)}
    images = Manifest(whole.table[shard_slice(shard, len(whole))].reset_index(drop=True), whole.classes)
    sections: tuple[str, ...] = ("cams",)
    if settings.masks_from == "foreign":
        path = _required("foreign", foreign, "masks_from: foreign")
        batches, sections = foreign_scores(settings, whole, images, path), ("foreign", "cams")
        weights = cams_digest(path)
    elif settings.masks_from == "guide":
        folder = _required("guide", guide, "masks_from: guide")
        model, texts, weights = guide_folder.open_folder(folder, settings, images.classes)
        batches, sections = guide_scores(settings, model, texts["texts"], images), ("guide", "guide_maps", "cams")
    else:
        path = _required("generator", generator, f"masks_from: {settings.masks_from}")
        network, weights = trained_generator(settings, len(images.classes), path, settings.masks_from)
        _warn_of_small_images(settings, images)
        batches, sections = batches_of_scores(settings, network, images), ("generator", "cams")
    if settings.fuses():
        path = _required("maps", maps, f"cams.fuse: {settings.cams.fuse}")
        batches = fused_scores(batches, open_cams(path, images), images, settings.cams)
        inputs["maps"] = cams_digest(path)
    made_from = provenance("cams", used_settings(settings, *sections), weights=weights, **inputs)
    made_from |= machine(1, settings.run.device)  # threads share the images
    write_scores(batches, images, settings.cams.dtype, made_from, out)


def _warn_of_small_images(settings: Settings, images: Manifest) -> None:
    """Say so where most images are much smaller than those that the generator learned from, and none is resized."""
    side = float(np.sqrt(images.table["width"] * images.table["height"]).median())
    learned = settings.generator.image_size
    if settings.cams.resize is None and side * max(settings.cams.scales) < SMALL * learned:
        text = "images have a median side of %.0f pixels, the generator learned from %d: maps are coarse; try %s"
        log.warning(text, side, learned, f"`cams: {{resize: {learned}}}`")


def _required(flag: str, path: Path | None, setting: str) -> Path:
    if path is None:
        raise SemplesError(f"--{flag}", "nothing", f"what `{setting}` needs", f"give --{flag}")
    return path


def foreign_scores(settings: Settings, whole: Manifest, images: Manifest, path: Path) -> Iterator[list[ImageScores]]:
    """Yield the maps of another method, image by image, at their own size, for the labels of the images.

    Values stay as they are if all maps lie in [0, 1]; otherwise each map is scaled by its lowest and highest value.

    Args:
        whole: All images, of which the maps are checked.
        images: Those to yield.
        path: What `semples.data.foreign_maps.open_cams` reads.
    Raises:
        SemplesError: A map is missing, or does not fit.
    """
    maps = open_cams(path, whole, settings.foreign.maps, "foreign.maps")
    matrix = images.label_matrix()
    for row, image in enumerate(images.table["id"]):
        single, labels = maps.read(image), np.flatnonzero(matrix[row])
        if missing := set(labels.tolist()) - set(single.classes.tolist()):
            problem = f"no map of {images.classes.names[min(missing)]!r}"
            raise SemplesError(f"{path}, image {image!r}", problem, "a map for every label", "add the map")
        shown = np.isin(single.classes, labels) | isinstance(maps, MaskFolder)  # a mask may show more than the labels
        score, classes = single.score[shown], single.classes[shown]
        yield [(row, score if isinstance(maps, CamFile) or maps.in_range else _scaled(score), classes)]


def _scaled(score: np.ndarray) -> np.ndarray:
    low, high = score.min(axis=(1, 2), keepdims=True), score.max(axis=(1, 2), keepdims=True)
    return (score - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
