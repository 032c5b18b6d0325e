"""COCO JSON: an annotation for every connected region, as run lengths or as polygons."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from semples.data.exporters.regions import MaskedImage, Region, regions
from semples.data.manifest import Classes


def write(folder: Path, images: Iterable[MaskedImage], classes: Classes, least_area: int, outlines: str) -> int:
    """Write `annotations/instances.json`; category k + 1 is class k. Return the number of annotations.

    Args:
        outlines: `rle`, which is exact, or `polygons`, which fill holes.
    """
    listed: list[dict] = []
    annotations: list[dict] = []
    for number, image in enumerate(images, start=1):
        height, width = image.mask.shape
        listed.append({"id": number, "file_name": image.file, "width": width, "height": height})
        for region in regions(image.mask, least_area):
            fields = _fields(region, height, width, outlines) | {"image_id": number, "id": len(annotations) + 1}
            annotations.append(fields)
    categories = [{"id": k, "name": name, "supercategory": ""} for k, name in enumerate(classes.names, start=1)]
    path = folder / "annotations" / "instances.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"images": listed, "categories": categories, "annotations": annotations}))
    return len(annotations)


def _fields(region: Region, height: int, width: int, outlines: str) -> dict[str, Any]:
    segmentation: Any = [np.round(region.outline(), 2).ravel().tolist()]
    if outlines == "rle":
        region.paint(plane := np.zeros((height, width), np.uint8, order="F"), 1)
        code = rle.encode(plane)
        segmentation = {"size": code["size"], "counts": code["counts"].decode("ascii")}
    fields = {"category_id": region.klass + 1, "iscrowd": 0, "bbox": region.box, "segmentation": segmentation}
    return fields | {"area": int(region.pixels.sum())}
