"""COCO JSON: labels and palette masks from outlines, of COCO itself and of CVAT, Roboflow and Label Studio.

The JSON is read as a stream. Class k is the k-th category in the order of the ids (COCO's run to 90 with ten gaps);
further files are matched by name. Overlapping objects are drawn from the largest to the smallest, so that an object in
front of a sofa stays visible, and crowds before all; `data.overlap: first` draws them from the last in the file to the
first. An image with an object without outline has labels and no mask.
"""

import re
from array import array
from codecs import BOM_UTF8
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from os.path import isfile
from pathlib import Path
from typing import Any, NamedTuple

import ijson
import numpy as np
import pandas as pd
from pycocotools import mask as rle

from semples.config.settings import Data
from semples.data.images import IGNORE, class_colours, image_size, write_mask
from semples.data.importers.listing import assign_splits, image_ids
from semples.data.manifest import COLUMNS, Classes
from semples.data.names import VOID, means_no_object
from semples.errors import SemplesError
from semples.files import atomic_path
from semples.runtime.parallel import map_processes

Id = int | str
Size = tuple[int, int]  # width, height in pixels

# the first pattern that has files: COCO and CVAT, Roboflow, Label Studio, others
PATTERNS = ("annotations/instances_*.json", "*/_annotations.coco.json", "result.json", "annotations/*.json", "*.json")
OTHER = re.compile("captions|keypoints|stuff|panoptic|image_info")
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
FLAGS = {"none": False, "0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


class Region(NamedTuple):
    """One annotation; `value` is the class's index in a mask, 0 for background, 255 for void."""

    value: int
    crowd: bool
    outline: list[array] | list[int] | None
    """Polygons x0, y0, x1, y1, ... in pixels, or COCO's run lengths."""


class Photo(NamedTuple):
    """One entry of `images`; its size is that of the JSON, or of the file where the JSON has none."""

    id: str
    file: Path
    size: Size | None


def load(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """Return classes and table of the COCO folder or JSON at `data.root`; draw the masks into `folder`/masks."""
    root = Path(data.root).resolve()
    files = annotation_files(root)
    classes, ids = read_classes(list(files.values()))
    rows: list[dict[str, Any]] = []
    for split, path in files.items():
        photos = read_photos(path, root)
        regions = read_regions(path, photos, ids[path], data.crowd)
        draw_mask = partial(_write_mask, folder, f"masks/{split or 'all'}", classes.palette(), data)
        jobs = ((photo, regions[key]) for key, photo in photos.items())
        masks = map_processes(draw_mask, jobs, processes, f"masks of {path.name}", len(photos))
        for (key, photo), mask in zip(photos.items(), masks, strict=True):
            values, size = sorted({region.value for region in regions[key]} - {0, IGNORE}), photo.size or (0, 0)
            labels = ";".join(classes.names[value - 1] for value in values)
            cells = (photo.id, str(photo.file), mask, split, *size, labels)
            rows.append(dict(zip(COLUMNS, cells, strict=True)))
        if without := sum(any(region.outline is None for region in regions[key]) for key in photos):
            print(f"{path}: {without} images have an object without an outline: they keep labels and have no mask")
            if without == sum(bool(regions[key]) for key in photos):
                remedy = "export segmentations, or use `data.source: photos`, which needs no masks"
                raise SemplesError(path, "no image with an outline of every object", "polygons or run lengths", remedy)
    repeated = {image for image, count in Counter(row["id"] for row in rows).items() if count > 1}
    for row in rows:
        row["id"] = f"{row['split']}/{row['id']}" if row["id"] in repeated else row["id"]
    assign_splits(rows, data)
    return classes, pd.DataFrame(rows, columns=COLUMNS)


def annotation_files(root: Path) -> dict[str, Path]:
    """Return the instances JSON per split, of several years the first; one without a split only if it is alone."""
    matches = ([root],) if root.is_file() else (sorted(root.glob(pattern)) for pattern in PATTERNS)
    paths = next(filter(None, ([path for path in paths if not OTHER.search(path.name)] for paths in matches)), [])
    files: dict[str, Path] = {}
    for path in paths:
        parts = re.findall("[a-z]+", f"{path.stem} {path.parent.name if path.parent != root else ''}".lower())
        files.setdefault(next((SPLITS[part] for part in parts if part in SPLITS), ""), path)
    if not files:
        expected = "those, */_annotations.coco.json (Roboflow) or result.json (Label Studio)"
        remedy = "set `data.root` to the folder of these, or to the JSON"
        raise SemplesError(root, "no annotations/instances_train*.json", expected, remedy)
    if len(files) > 1:
        files.pop("", None)
    if unread := [path.name for path in paths if path not in files.values()]:
        print(f"{root}: not read: {', '.join(unread)}")
    return {split: files[split] for split in (*dict.fromkeys(SPLITS.values()), "") if split in files}


def read_classes(paths: list[Path]) -> tuple[Classes, dict[Path, dict[Id, int]]]:
    """Return the classes of the first file in the order of their ids, and per file the mask's value of each id."""
    values: dict[str, int] = {}
    ids: dict[Path, dict[Id, int]] = {}
    for path in paths:
        entries = _by_id(path, "categories", _category)
        groups = {group for _, _, group in entries}  # Roboflow lists the group of its classes as a category
        categories = {key: name for key, name, group in entries if not (group == "none" and name in groups)}
        names = [name for name in categories.values() if not means_no_object(name)]
        if not names or len(set(names)) < len(names):
            problem = f"a category twice: {', '.join(names)}" if names else "no categories"
            raise SemplesError(path, problem, "an instances JSON of COCO", "correct the categories")
        values = values or {name: value for value, name in enumerate(names, start=1)}
        no_objects = {name: IGNORE * means_no_object(name, VOID) for name in categories.values() if name not in names}
        value_of = values | no_objects
        ids[path] = {key: value_of[name] for key, name in categories.items() if name in value_of}
    return Classes(tuple(values), tuple(values), class_colours(len(values))), ids


def read_photos(path: Path, root: Path) -> dict[Id, Photo]:
    """Return the photos by COCO's image id, in the order of the ids; raise SemplesError if an id or a file repeats."""
    entries = _by_id(path, "images", _image)
    folder, files = _located(path, root, [file for _, file, _ in entries])
    for name, names in {"id": [key for key, _, _ in entries], "file_name": files}.items():
        if repeated := [value for value, count in Counter(names).items() if count > 1]:
            raise SemplesError(path, f"two images of the {name} {repeated[0]}", "one entry per image", "join the two")
    photos = {}
    for (key, _, size), file, image in zip(entries, files, image_ids(files), strict=True):
        photos[key] = Photo(image, folder / file, size if min(size) > 0 else _file_size(folder / file))
    return photos


def read_regions(path: Path, photos: dict[Id, Photo], values: dict[Id, int], crowd: str) -> dict[Id, list[Region]]:
    """Return the regions by COCO's image id; `values` are the mask's values of the category ids.

    Raises:
        SemplesError: An annotation is of an unknown image or category, or its outline does not fit its image.
    """

    def read(entry: dict) -> tuple[Id, Region]:
        image, category = _id(entry["image_id"]), _id(entry["category_id"])
        is_crowd = FLAGS.get(str(entry.get("iscrowd", 0)).lower())
        if image not in photos or category not in values or is_crowd is None:
            raise ValueError(f"unknown image or category, or iscrowd {entry.get('iscrowd')!r}")
        return image, Region(values[category], is_crowd, _outline(entry.get("segmentation"), photos[image].size))

    regions, largest = defaultdict(list), 0.0
    for image, region in _entries(path, "annotations", read):
        if not (region.crowd and crowd == "left_out"):
            regions[image].append(region)
            largest = max([largest, *(max(part) for part in region.outline or () if isinstance(part, array))])
    if 0 < largest <= 1:
        remedy = "multiply them by width and height"
        raise SemplesError(path, f"coordinates up to {largest:g} alone", "coordinates in pixels", remedy)
    return regions


def draw(size: Size, regions: list[Region], data: Data) -> np.ndarray:
    """Return class indices uint8 (height, width): 0 background, 255 in crowds if `data.crowd` is `void`.

    The object that has the pixels of several is the one that `data.overlap` says.
    """
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    encoded = [(region, _encode(region.outline, width, height)) for region in regions]
    if data.overlap == "first":
        encoded.reverse()
    else:
        encoded.sort(key=lambda pair: (not pair[0].crowd, -int(rle.area(pair[1]))))
    for region, code in encoded:
        mask[rle.decode(code).astype(bool)] = IGNORE if region.crowd and data.crowd == "void" else region.value
    return mask


def _write_mask(folder: Path, masks: str, palette: np.ndarray, data: Data, job: tuple[Photo, list[Region]]) -> str:
    """Draw the mask of a photo; return its path relative to `folder`, or "" without file of this size or an outline."""
    photo, regions = job
    if photo.size != _file_size(photo.file) or any(region.outline is None for region in regions) or not photo.size:
        return ""
    with atomic_path(folder / masks / f"{photo.id}.png") as partial_file:
        write_mask(partial_file, draw(photo.size, regions, data), palette)
    return f"{masks}/{photo.id}.png"


def _encode(outline: Any, width: int, height: int) -> dict:
    """Return an outline as pycocotools' compressed run lengths."""
    if isinstance(outline[0], int):
        return rle.frPyObjects({"counts": outline, "size": [height, width]}, height, width)
    return rle.merge(rle.frPyObjects([list(polygon) for polygon in outline], height, width))


def _outline(segmentation: Any, size: Size | None) -> list[array] | list[int] | None:
    """Return polygons or run lengths; None without area: null, empty, or fewer than three points."""
    if not segmentation or size is None:
        return None
    if isinstance(segmentation, dict):
        counts, (width, height) = segmentation["counts"], size
        runs, shape = _runs(counts) if isinstance(counts, str) else list(map(int, counts)), segmentation.get("size")
        if list(shape or (height, width)) != [height, width] or sum(runs) != width * height or min(runs) < 0:
            raise ValueError(f"run lengths of {sum(runs)} pixels and size {shape}, expected {[height, width]}")
        return runs
    if isinstance(segmentation, str):
        raise ValueError("a segmentation of text")
    is_flat = not isinstance(segmentation[0], list)
    if is_flat or (len(segmentation) > 2 and all(len(point) == 2 for point in segmentation)):
        segmentation = [segmentation]
    # arrays take an eighth of the memory of lists: COCO has 27 million coordinates
    polygons = [array("d", np.asarray(polygon, float).ravel()) for polygon in segmentation]
    if any(len(polygon) % 2 or not np.isfinite(polygon).all() for polygon in polygons):
        raise ValueError("an odd or infinite coordinate")
    return [polygon for polygon in polygons if len(polygon) > 4] or None


def _runs(text: str) -> list[int]:
    """Return the run lengths of pycocotools' compressed text: groups of 5 bits, from the third on as differences."""
    runs: list[int] = []
    value = shift = 0
    for bits in (ord(sign) - 48 for sign in text):
        value, shift = value | (bits & 31) << shift, shift + 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _located(path: Path, root: Path, files: list[str]) -> tuple[Path, list[Path]]:
    """Return the folder in which the first of the photographs lie, and their paths in it: as given, or their names."""
    name, base = path.stem.removeprefix("instances_"), root if root.is_dir() else root.parent
    names = [name, name.rstrip("0123456789")]
    folders = [base / part / name for part in (".", "images") for name in names]
    folders += [path.parent, base / "images", base / "data", base]
    for paths in ([Path(file) for file in files], [Path(Path(file).name) for file in files]):
        for folder in folders:
            if any(isfile(folder / file) for file in paths[:100]):  # noqa: PTH113 (Path fails on long names)
                return folder, paths
    problem, expected = f"no photograph such as {''.join(files[:1])}", f"the photographs of {path.name}"
    raise SemplesError(folders[0], problem, expected, "complete the COCO folder")


def _file_size(path: Path) -> Size | None:
    """Return the size of an image, None if it is unreadable, which the scan reports."""
    try:
        return image_size(path)
    except SemplesError:
        return None


def _category(entry: dict) -> tuple[Id, str, Any]:
    return _id(entry["id"]), str(entry["name"]), entry.get("supercategory")


def _image(entry: dict) -> tuple[Id, str, Size]:
    width, height = (int(float(entry.get(side) or 0)) for side in ("width", "height"))
    file = entry.get("file_name") or entry.get("coco_url") or entry["file_name"]  # LVIS has addresses alone
    return _id(entry["id"]), str(file).replace("\\", "/"), (width, height)


def _id(value: Any) -> Id:
    """Return an id as number where it is one: exporters write 7, 7.0 and "7"."""
    text = str(value).removesuffix(".0")
    return int(text) if text.isdecimal() else text


def _by_id(path: Path, name: str, read: Callable[[dict], tuple]) -> list[tuple]:
    return sorted(_entries(path, name, read), key=lambda entry: (isinstance(entry[0], str), entry[0]))


def _entries(path: Path, name: str, read: Callable[[dict], Any]) -> Iterator[Any]:
    """Yield `read(entry)` of the entries of one list of the JSON."""
    expected, remedy = "an instances JSON of COCO", "restore the file"
    try:
        with open(path, "rb") as file:
            file.seek(3 if file.read(3) == BOM_UTF8 else 0)
            for entry in ijson.items(file, f"{name}.item", use_float=True, buf_size=1 << 20):
                try:
                    yield read(entry)
                except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
                    shown = str(entry | {"segmentation": "..."} if isinstance(entry, dict) else entry)[:200]
                    problem = f"{name}: {shown}: {'no ' if isinstance(error, KeyError) else ''}{error}"
                    raise SemplesError(path, problem, expected, "correct the entry") from error
    except (ijson.JSONError, OSError) as error:
        raise SemplesError(path, f"no JSON: {error}", expected, remedy) from error
