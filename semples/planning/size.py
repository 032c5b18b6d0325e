"""How large a data set is, as estimates need it: from its manifest, or before there is one from what is known of it."""

from pathlib import Path

import numpy as np

from semples.config.settings import Config, Data
from semples.data.manifest import Manifest, read_manifest, split_counts
from semples.errors import SemplesError
from semples.planning.cost import Size

# VOC 2012 with SBD and COCO 2014: images of a split, mean pixels and labels of an image, classes
KNOWN = {
    "voc": ({"train": 1464, "train_aug": 10582, "val": 1449, "trainval": 2913}, 182_000.0, 1.5, 20),
    "coco": ({"train": 82081, "val": 40137}, 277_000.0, 2.9, 80),
}
MINI = (64.0**2, 1.5, 6)


def size_of(config: Config) -> Size:
    """The size of the data set that `config` names: of its manifest in results/, or of the whole VOC, COCO or mini."""
    manifest = Path("results", config.name, "data", "manifest.csv")
    if manifest.exists():
        return _measured(read_manifest(manifest), config.data)
    if config.data.source == "mini":
        counts, numbers = config.data.scenes, MINI
    elif config.data.source in KNOWN:
        counts, *numbers = KNOWN[config.data.source]
    else:
        raise SemplesError(
            manifest, "no such file", "a manifest, which says how many images there are", "run `snakemake data` first"
        )
    return Size(counts.get(config.data.train, 0), counts.get(config.data.val, 0), *numbers)


def _measured(images: Manifest, data: Data) -> Size:
    table = images.table
    counts = split_counts(table)
    labels = images.label_matrix().sum(axis=1)
    pixels = table["width"].astype(float) * table["height"].astype(float)
    mean = float(np.mean(labels[labels > 0])) if labels.any() else 0.0
    train, val = (counts.get(split, 0) for split in (data.train, data.val))
    return Size(train, val, float(pixels.mean()), mean, len(images.classes))
