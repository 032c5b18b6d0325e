"""YOLO segmentation: a text file for every image, a line for every connected region."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml

from semples.data.exporters.regions import MaskedImage, regions
from semples.data.manifest import Classes


def write(folder: Path, images: Iterable[MaskedImage], classes: Classes, least_area: int) -> int:
    """Write `labels/<id>.txt` and `data.yaml`; return the number of lines.

    A line has the class, counted from 0, and the outline as x and y in fractions of width and height. Holes are filled.
    Images without an object have an empty file, which YOLO takes for background.
    """
    count = 0
    for image in images:
        height, width = image.mask.shape
        path, lines = folder / "labels" / f"{image.id}.txt", []
        for region in regions(image.mask, least_area):
            points = region.outline() / np.array([width, height])
            lines.append(" ".join([str(region.klass), *(f"{value:.6f}" for value in points.ravel())]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
        count += len(lines)
    names = dict(enumerate(classes.names))
    text = yaml.safe_dump({"path": ".", "train": "images", "val": "images", "names": names}, sort_keys=False)
    (folder / "data.yaml").write_text(f"# put the photographs into images/, beside labels/\n{text}")
    return count
