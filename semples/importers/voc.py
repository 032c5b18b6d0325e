"""PASCAL VOC 2012: labels from the XML objects, masks from SegmentationClass, or SegmentationClassAug for train_aug."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from semples.errors import SemplesError
from semples.images import expect_size, image_size, voc_palette
from semples.manifest import Classes

NAMES = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
TEXTS = {
    "diningtable": "dining table",
    "person": "player",
    "pottedplant": "potted plant",
    "tvmonitor": "tv monitor",
}  # method of the published code: `player` names people better than `person`
SPLITS = ("train", "val", "train_aug")


def classes() -> Classes:
    """The twenty classes in the official order, with the official colours."""
    colours = tuple("#{:02x}{:02x}{:02x}".format(*rgb) for rgb in voc_palette()[1 : len(NAMES) + 1])
    return Classes(tuple(NAMES), tuple(TEXTS.get(name, name) for name in NAMES), colours)


def table(root: Path) -> pd.DataFrame:
    """The manifest's table of the devkit at `root` (the folder VOC2012, or one that holds it)."""
    devkit = _devkit(root)
    splits = {name: _read_split(devkit, name) for name in SPLITS}
    ids = sorted(set().union(*splits.values()))
    if not ids:
        raise SemplesError(
            devkit / "ImageSets/Segmentation", "no split list", "train.txt and val.txt", "complete the devkit"
        )
    rows = []
    for image in tqdm(ids, desc="reading annotations", mininterval=2):
        member = [name for name in SPLITS if image in splits[name]]
        rows.append(_row(devkit, image, member))
    return pd.DataFrame(rows)


def _devkit(root: Path) -> Path:
    for folder in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (folder / "JPEGImages").is_dir():
            return folder.resolve()
    raise SemplesError(
        root,
        "no folder JPEGImages",
        "a PASCAL VOC 2012 devkit (JPEGImages, Annotations, SegmentationClass, ImageSets)",
        "set `data.root` to the folder VOCdevkit or VOC2012",
    )


def _read_split(devkit: Path, name: str) -> set[str]:
    path = devkit / "ImageSets" / "Segmentation" / f"{name}.txt"
    return set(path.read_text(encoding="utf-8").split()) if path.exists() else set()


def _row(devkit: Path, image: str, member: list[str]) -> dict:
    photo = devkit / "JPEGImages" / f"{image}.jpg"
    width, height = image_size(photo)
    official = "train" in member or "val" in member
    mask = devkit / ("SegmentationClass" if official else "SegmentationClassAug") / f"{image}.png"
    if mask.exists():
        expect_size(mask, (width, height))
    return {
        "id": image,
        "image": str(photo),
        "mask": str(mask) if mask.exists() else "",
        "split": ";".join(member),
        "width": width,
        "height": height,
        "labels": ";".join(_labels(devkit / "Annotations" / f"{image}.xml")),
    }


def _labels(path: Path) -> list[str]:
    """Names of the objects in an annotation, difficult ones included, in class order."""
    try:
        names = {element.text for element in ET.parse(path).iterfind("object/name")}
    except FileNotFoundError as error:
        raise SemplesError(path, "no such file", "an annotation for every image", "complete the devkit") from error
    except ET.ParseError as error:
        raise SemplesError(path, f"no XML: {error}", "a VOC annotation", "replace the file") from error
    if unknown := names - set(NAMES):
        raise SemplesError(path, f"object {sorted(unknown)[0]!r}", f"one of {NAMES}", "correct the annotation")
    return [name for name in NAMES if name in names]
