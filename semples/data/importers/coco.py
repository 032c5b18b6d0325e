"""COCO 2014: labels and palette masks of 80 classes from the instances JSON, which is read as a stream.

COCO's category ids run to 90 with ten gaps; class k is the k-th category in the order of the ids. Overlapping objects
are drawn from the largest to the smallest, so that an object in front of a sofa stays visible, and crowds before all.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import ijson
import numpy as np
import pandas as pd
from pycocotools import mask as rle

from semples.config.settings import Data
from semples.data.images import IGNORE, class_colours, write_mask
from semples.data.manifest import COLUMNS, Classes
from semples.errors import SemplesError
from semples.files import atomic_path
from semples.runtime.parallel import map_processes

Outline = list[array] | dict  # polygons x0, y0, x1, y1, ... in pixels, or COCO's run lengths


class Region(NamedTuple):
    """One annotation; `value` is the class's index in a mask, from 1."""

    value: int
    crowd: bool
    outline: Outline


class Photo(NamedTuple):
    """One entry of `images`; width and height in pixels."""

    file: str
    width: int
    height: int


def load(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """Return classes and table of the COCO folder at `data.root`; draw the masks into `folder`/masks."""
    root = Path(data.root).resolve()
    files = _instances(root)
    classes, category_ids = read_classes(next(iter(files.values())))
    draw_mask, tables = partial(_write_mask, folder, classes.palette(), data.crowd), []
    for split, path in files.items():
        photos, regions = read_instances(path, category_ids, data.crowd)
        jobs = ((photos[key], regions[key]) for key in sorted(photos))
        tables.append(table(photos, regions, classes, _image_folder(root, path), split))
        tables[-1]["mask"] = list(map_processes(draw_mask, jobs, processes, f"masks of {split}", len(photos)))
    return classes, pd.concat(tables, ignore_index=True)


def table(
    photos: dict[int, Photo], regions: dict[int, list[Region]], classes: Classes, images: Path, split: str
) -> pd.DataFrame:
    """Return the manifest's table without masks, in the order of COCO's image ids; `images` is the photos' folder."""
    rows = []
    for key in sorted(photos):
        photo, values = photos[key], sorted({region.value for region in regions.get(key, ())})
        labels, file = ";".join(classes.names[value - 1] for value in values), Path(photo.file)
        rows.append([file.stem, str(images / file.name), "", split, photo.width, photo.height, labels])
    return pd.DataFrame(rows, columns=COLUMNS)


def read_classes(path: Path) -> tuple[Classes, list[int]]:
    """Return the classes of an instances JSON and their COCO ids, in the order of the ids."""
    entries = sorted(_entries(path, "categories"), key=lambda entry: entry["id"])
    names = tuple(entry["name"] for entry in entries)
    if not names:
        raise SemplesError(path, "no categories", "an instances JSON of COCO", "name the folder of instances_*.json")
    return Classes(names, names, class_colours(len(names))), [entry["id"] for entry in entries]


def read_instances(path: Path, category_ids: list[int], crowd: str) -> tuple[dict[int, Photo], dict[int, list[Region]]]:
    """Return the photos and their regions by COCO's image id; `category_ids` are those of the classes, in order.

    Raises:
        SemplesError: An annotation is of an unknown image or category, or has another size than its image.
    """
    value_of = {key: value for value, key in enumerate(category_ids, start=1)}
    photos = {e["id"]: Photo(e["file_name"], e["width"], e["height"]) for e in _entries(path, "images")}
    regions: dict[int, list[Region]] = defaultdict(list)
    for entry in _entries(path, "annotations"):
        image, category, outline = entry["image_id"], entry["category_id"], entry["segmentation"]
        photo, size = photos.get(image), None if isinstance(outline, list) else tuple(outline["size"])
        if photo is None or category not in value_of or size not in (None, (photo.height, photo.width)):
            problem = f"annotation {entry['id']} of image {image}, category {category}"
            expected = "an image of this file, a known category, and regions of the image's size"
            raise SemplesError(path, problem, expected, "restore the file")
        if not (entry["iscrowd"] and crowd == "left_out"):
            if isinstance(outline, list):  # arrays take an eighth of the memory: COCO has 27 million coordinates
                outline = [array("d", polygon) for polygon in outline]
            regions[image].append(Region(value_of[category], bool(entry["iscrowd"]), outline))
    return photos, regions


def draw(photo: Photo, regions: list[Region], crowd: str) -> np.ndarray:
    """Return class indices uint8 (height, width): 0 background, 255 in crowds if `crowd` is `void`."""
    mask = np.zeros((photo.height, photo.width), np.uint8)
    encoded = [(region, _encode(region.outline, photo)) for region in regions]
    for region, code in sorted(encoded, key=lambda pair: (not pair[0].crowd, -int(rle.area(pair[1])))):
        mask[rle.decode(code).astype(bool)] = IGNORE if region.crowd and crowd == "void" else region.value
    return mask


def _write_mask(folder: Path, palette: np.ndarray, crowd: str, job: tuple[Photo, list[Region]]) -> str:
    """Draw the mask of a photo with its regions; return its path relative to `folder`."""
    name = f"masks/{Path(job[0].file).stem}.png"
    with atomic_path(folder / name) as partial_file:
        write_mask(partial_file, draw(*job, crowd), palette)
    return name


def _encode(outline: Outline, photo: Photo) -> dict:
    """Return an outline as pycocotools' compressed run lengths."""
    if isinstance(outline, list):
        return rle.merge(rle.frPyObjects([list(polygon) for polygon in outline], photo.height, photo.width))
    return outline if isinstance(outline["counts"], str) else rle.frPyObjects(outline, photo.height, photo.width)


def _entries(path: Path, name: str) -> Iterator[dict]:
    """Yield the entries of one list of the JSON."""
    try:
        with open(path, "rb") as file:
            yield from ijson.items(file, f"{name}.item", use_float=True, buf_size=1 << 20)
    except (ijson.JSONError, ijson.IncompleteJSONError) as error:
        raise SemplesError(path, f"no JSON: {error}", "an instances JSON of COCO", "restore the file") from error


def _instances(root: Path) -> dict[str, Path]:
    """Return the instances JSON per split: of 2014, or of the first later year where that is missing."""
    paths = {split: sorted(root.glob(f"annotations/instances_{split}20*.json")) for split in ("train", "val")}
    files = {split: years[0] for split, years in paths.items() if years}
    if not files:
        expected, remedy = "a COCO folder (annotations, train2014, val2014)", "set `data.root` to the folder of these"
        raise SemplesError(root, "no annotations/instances_train*.json", expected, remedy)
    return files


def _image_folder(root: Path, instances: Path) -> Path:
    name = instances.stem.removeprefix("instances_")
    for folder in (root / name, root / "images" / name):
        if folder.is_dir():
            return folder
    raise SemplesError(root / name, "no such folder", "the photographs of the annotations", "complete the COCO folder")
