"""How large a data set is: from its manifest, or before there is one from its listing or its known numbers."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from semples.config.settings import Config, Data
from semples.data.importers import listing
from semples.errors import SemplesError
from semples.planning.layout import Layout

# VOC 2012 with SBD, COCO 2014 and the miniature: images of a split, mean pixels and labels of an image, classes
KNOWN: dict[str, tuple[dict[str, int], float, float, int]] = {
    "voc": ({"train": 1464, "train_aug": 10582, "val": 1449, "trainval": 2913}, 182_000.0, 1.5, 20),
    "coco": ({"train": 82081, "val": 40137}, 277_000.0, 2.9, 80),
    "mini": ({}, 64.0**2, 1.5, 6),  # `data.scenes` has the splits
}
UNKNOWN_SIDE = 1024  # pixels along the longer side of a photograph that nobody has opened yet


@dataclass(frozen=True)
class Size:
    """Images of the splits that train and validate, mean pixels and labels of an image, and classes."""

    train: int
    val: int
    pixels: float
    labels: float
    classes: int


def size_of(config: Config) -> Size:
    """Return the size of the data set that `config` names.

    Raises:
        SemplesError: The data set is somebody's own, and is not there.
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
        raise SemplesError(manifest, "no such file", "a manifest, which says how many images there are", remedy)
    rows = listing.list_images(data)
    names = {name for row in rows for name in row["labels"].split(";") if name}
    return _measured(rows, data, 0.75 * (data.max_side or UNKNOWN_SIDE) ** 2, len(names))


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _measured(rows: list[dict[str, str]], data: Data, pixels: float, classes: int) -> Size:
    counts = Counter(name for row in rows for name in row["split"].split(";"))
    labels = [len(row["labels"].split(";")) for row in rows if row["labels"]]
    return Size(counts[data.train], counts[data.val], pixels, sum(labels) / max(len(labels), 1), classes)
