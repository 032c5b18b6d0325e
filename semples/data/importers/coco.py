"""COCO 2014: labels of 80 classes and palette masks from the instances JSON, which is read as a stream.

The category ids of COCO run to 90 with ten gaps; class k here is the k-th of the 80 in the order of those ids.
Overlapping objects are drawn from the largest to the smallest, so that what lies in front of a sofa stays visible;
crowd regions lie under all objects.
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
from semples.data.manifest import Classes
from semples.errors import SemplesError
from semples.files import atomic_path
from semples.runtime.parallel import map_processes


class Region(NamedTuple):
    """One annotation: the class's mask index from 1, whether it is a crowd, and its outline."""

    index: int
    crowd: bool
    outline: list[array] | dict
    """Polygons x0, y0, x1, y1, ... in pixels, or run lengths as COCO writes them."""


class Photo(NamedTuple):
    """One entry of `images`."""

    file: str
    width: int
    height: int


def load(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """The COCO folder at `data.root`; masks are drawn into `folder`/masks."""
    root = Path(data.root).resolve()
    files = _instances(root)
    classes, identifiers = read_classes(next(iter(files.values())))
    tables = []
    for split, path in files.items():
        photos, regions = read_instances(path, identifiers, data.crowd)
        found = table(photos, regions, classes, _image_folder(root, path), split)
        jobs = ((photos[key], regions[key]) for key in sorted(photos))
        (folder / "masks").mkdir(parents=True, exist_ok=True)
        work = partial(_write_mask, folder, classes.palette(), data.crowd)
        found["mask"] = list(map_processes(work, jobs, processes, f"masks of {split}", len(photos)))
        tables.append(found)
    return classes, pd.concat(tables, ignore_index=True)


def table(photos: dict, regions: dict, classes: Classes, images: Path, split: str) -> pd.DataFrame:
    """id, image, mask (none), split, width, height and labels of the photographs, in order of their COCO ids."""
    rows = []
    for key in sorted(photos):
        photo, present = photos[key], sorted({region.index for region in regions.get(key, ())})
        labels = ";".join(classes.names[index - 1] for index in present)
        name = Path(photo.file).name
        rows.append([Path(name).stem, str(images / name), "", split, photo.width, photo.height, labels])
    return pd.DataFrame(rows, columns=["id", "image", "mask", "split", "width", "height", "labels"])


def read_classes(path: Path) -> tuple[Classes, list[int]]:
    """The classes of an instances JSON, and their COCO ids, in the order of those."""
    entries = sorted(_entries(path, "categories"), key=lambda entry: entry["id"])
    names = tuple(entry["name"] for entry in entries)
    if not names:
        raise SemplesError(path, "no categories", "an instances JSON of COCO", "name the folder of instances_*.json")
    return Classes(names, names, class_colours(len(names))), [entry["id"] for entry in entries]


def read_instances(path: Path, identifiers: list[int], crowd: str) -> tuple[dict[int, Photo], dict[int, list[Region]]]:
    """Photographs and their regions by COCO's image id; the regions of crowds are dropped if they are `left_out`.

    `identifiers` are COCO's ids of the classes, in class order.
    """
    index = {key: place for place, key in enumerate(identifiers, start=1)}
    photos = {e["id"]: Photo(e["file_name"], e["width"], e["height"]) for e in _entries(path, "images")}
    regions: dict[int, list[Region]] = defaultdict(list)
    for entry in _entries(path, "annotations"):
        photo = photos.get(entry["image_id"])
        if photo is None or entry["category_id"] not in index or not _fits(entry["segmentation"], photo):
            raise SemplesError(
                path,
                f"annotation {entry['id']} of image {entry['image_id']}, category {entry['category_id']}",
                "an image of this file, a known category, and regions of the image's size",
                "restore the file",
            )
        if not (entry["iscrowd"] and crowd == "left_out"):
            outline = _compact(entry["segmentation"])
            regions[entry["image_id"]].append(Region(index[entry["category_id"]], bool(entry["iscrowd"]), outline))
    return photos, regions


def draw(photo: Photo, regions: list[Region], crowd: str) -> np.ndarray:
    """Class indices uint8 (height, width): 0 background, 255 void where `crowd` says that crowds are."""
    mask = np.zeros((photo.height, photo.width), np.uint8)
    encoded = [(region, _encoded(region.outline, photo)) for region in regions]
    areas = [int(rle.area(code)) for _, code in encoded]
    order = sorted(range(len(encoded)), key=lambda place: (not encoded[place][0].crowd, -areas[place]))
    for place in order:
        region, code = encoded[place]
        mask[rle.decode(code).astype(bool)] = IGNORE if region.crowd and crowd == "void" else region.index
    return mask


def _write_mask(folder: Path, palette: np.ndarray, crowd: str, job: tuple[Photo, list[Region]]) -> str:
    photo, regions = job
    name = f"masks/{Path(photo.file).stem}.png"
    with atomic_path(folder / name) as partial_file:
        write_mask(partial_file, draw(photo, regions, crowd), palette)
    return name


def _encoded(outline: list[array] | dict, photo: Photo) -> dict:
    """Run lengths of an outline as pycocotools holds them."""
    if isinstance(outline, dict):
        packed = isinstance(outline["counts"], str | bytes)
        return outline if packed else rle.frPyObjects(outline, photo.height, photo.width)
    return rle.merge(rle.frPyObjects([list(polygon) for polygon in outline], photo.height, photo.width))


def _fits(segmentation: list | dict, photo: Photo) -> bool:
    return isinstance(segmentation, list) or tuple(segmentation["size"]) == (photo.height, photo.width)


def _compact(segmentation: list | dict) -> list[array] | dict:
    """The outline in an eighth of the memory: an annotation file of COCO has 27 million coordinates."""
    if isinstance(segmentation, dict):
        return segmentation
    return [array("d", polygon) for polygon in segmentation]


def _entries(path: Path, name: str) -> Iterator[dict]:
    """The entries of one list of the JSON, read one by one."""
    try:
        with open(path, "rb") as file:
            yield from ijson.items(file, f"{name}.item", use_float=True, buf_size=1 << 20)
    except (ijson.JSONError, ijson.IncompleteJSONError) as error:
        raise SemplesError(path, f"no JSON: {error}", "an instances JSON of COCO", "restore the file") from error


def _instances(root: Path) -> dict[str, Path]:
    """The instances JSON of every split: of 2014 where it is there, else of the one year that is."""
    found: dict[str, Path] = {}
    for split in ("train", "val"):
        paths = sorted((root / "annotations").glob(f"instances_{split}20*.json"))
        if paths:
            found[split] = paths[0]
    if not found:
        raise SemplesError(
            root,
            "no annotations/instances_train*.json",
            "a COCO folder (annotations, train2014, val2014)",
            "set `data.root` to the folder that holds them",
        )
    return found


def _image_folder(root: Path, instances: Path) -> Path:
    name = instances.stem.removeprefix("instances_")
    for folder in (root / name, root / "images" / name):
        if folder.is_dir():
            return folder
    raise SemplesError(root / name, "no such folder", "the photographs of the annotations", "complete the COCO folder")
