"""The size of a data set: from its manifest or, before there is one, from known numbers or the list of its files."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from semples.config.settings import Config, Data
from semples.data.importers import listing
from semples.errors import SemplesError
from semples.planning.layout import Layout

# VOC 2012 with SBD, COCO 2014 and the miniature: images per split, mean pixels and labels per image, classes
KNOWN: dict[str, tuple[dict[str, int], float, float, int]] = {
    "voc": ({"train": 1464, "train_aug": 10582, "val": 1449, "trainval": 2913}, 182_000.0, 1.5, 20),
    "coco": ({"train": 82081, "val": 40137}, 277_000.0, 2.9, 80),
    "mini": ({}, 64.0**2, 1.5, 6),  # `data.scenes` has the splits
}
ASSUMED_SIDE = 1024  # pixels of the longer side of photographs whose size is not known yet


@dataclass(frozen=True)
class Size:
    """Images of the training and the validation split, mean pixels and labels per image, and classes."""

    train: int
    val: int
    pixels: float
    labels: float
    classes: int


def size_of(config: Config) -> Size:
    """Return the size of the data set that `config` names.

    Raises:
        SemplesError: The images are the user's own, and `data.root` does not exist.
    """
    manifest, data = Path(Layout.of(config.name).path("data", "manifest")), config.data
    if manifest.exists() and (rows := _rows(manifest)):
        areas = [float(row["width"]) * float(row["height"]) for row in rows]
        return _measured(rows, data, sum(areas) / len(areas), len(_rows(manifest.with_name("classes.csv"))))
    if data.source in KNOWN:
        counts, pixels, labels, classes = KNOWN[data.source]
        counts = counts or data.scenes
        return Size(counts.get(data.train, 0), counts.get(data.val, 0), pixels, labels, classes)
    if not data.root or not Path(data.root).exists():
        remedy = "run `snakemake data` first"
        raise SemplesError(manifest, "no such file", "the manifest, which has the number of images", remedy)
    rows = listing.list_images(data)
    names = {name for row in rows for name in row["labels"].split(";") if name}
    return _measured(rows, data, 0.75 * (data.max_side or ASSUMED_SIDE) ** 2, len(names))


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _measured(rows: list[dict[str, str]], data: Data, pixels: float, classes: int) -> Size:
    counts = Counter(name for row in rows for name in row["split"].split(";"))
    labels = [len(row["labels"].split(";")) for row in rows if row["labels"]]
    return Size(counts[data.train], counts[data.val], pixels, sum(labels) / max(len(labels), 1), classes)
