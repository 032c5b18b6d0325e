"""Exports of annotation tools: image-level labels and masks of Label Studio (JSON) and of CVAT (XML or zip).

Label Studio: choices are labels; brush masks and polygons are masks. CVAT: tags are labels, and polygons and masks of
"CVAT for images 1.1" are masks, later ones over earlier ones; "Segmentation mask 1.1" has masks as RGB pictures. Boxes
and all other shapes give labels.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from semples.data.exporters.label_studio import unpack
from semples.errors import SemplesError

UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # Label Studio puts this before the names of uploaded files
BROKEN = (KeyError, ValueError, TypeError, IndexError, AttributeError, OSError, BadZipFile, ElementTree.ParseError)
MASKS = "SegmentationClass/"


@dataclass
class Annotation:
    """The annotation of one image: its name in the tool, labels, and classes with their pixels, bool (h, w)."""

    name: str
    labels: list[str]
    layers: list[tuple[str, np.ndarray]] = field(default_factory=list)
    masked: bool = False  # whether the layers are the whole mask, even if there is none

    def mask(self, names: list[str], height: int, width: int, where: object) -> np.ndarray | None:
        """Return the class indices uint8 (height, width), k + 1 for `names[k]`; None if the image has no mask.

        Raises:
            SemplesError: A layer has another size than the image.
        """
        if not self.masked:
            return None
        mask = np.zeros((height, width), np.uint8)
        for name, plane in self.layers:
            if plane.shape != mask.shape:
                problem = f"{self.name}: a mask of {plane.shape[1]}x{plane.shape[0]} pixels"
                raise SemplesError(where, problem, f"{width}x{height}, the size of its image", "export it again")
            mask[plane] = 1 + names.index(name)
        return mask


def read_annotations(path: Path) -> Iterator[Annotation]:
    """Yield the annotated images of an export.

    Raises:
        SemplesError: The file is no such export, or is damaged.
    """
    try:
        if path.suffix.lower() == ".json":
            yield from map(_task, _tasks(path))
        elif path.suffix.lower() == ".xml":
            yield from _cvat_images(ElementTree.fromstring(path.read_bytes()))
        else:
            yield from _cvat_zip(ZipFile(path))
    except BROKEN as error:
        problem = f"no export that can be read: {type(error).__name__} {error}"
        expected = "JSON of Label Studio; zip or XML of CVAT (CVAT for images 1.1, Segmentation mask 1.1)"
        raise SemplesError(path, problem, expected, "export the annotations again") from error


def _tasks(path: Path) -> list[dict]:
    tasks = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
        raise ValueError("no list of tasks")
    return tasks


def _task(task: dict[str, Any]) -> Annotation:
    """Return the newest annotation of a task of Label Studio that nobody cancelled."""
    addresses = [value for key, value in task["data"].items() if key == "img" or key.endswith("image")]
    if not addresses:
        raise ValueError(f"a task without image: {list(task['data'])}")
    finished = [entry for entry in task.get("annotations") or [] if not entry.get("was_cancelled")]
    newest: dict[str, Any] = max(finished, key=lambda entry: entry.get("updated_at") or "", default={})
    annotation = Annotation(_file_name(addresses[0]), [])
    for result in newest.get("result", []):
        value, kind = result.get("value", {}), result.get("type", "")
        names = [str(name) for name in value.get(kind) or []]
        annotation.labels += names
        if kind == "brushlabels":
            size = int(result["original_height"]), int(result["original_width"])
            annotation.layers += [(name, unpack(value["rle"], *size, annotation.name)) for name in names]
        elif kind == "polygonlabels":
            size = int(result["original_height"]), int(result["original_width"])
            points = np.array(value["points"], float) * [size[1] / 100, size[0] / 100]  # percent of the sides
            annotation.layers += [(name, _filled(points, size)) for name in names]
    annotation.masked = bool(annotation.layers)
    return annotation


def _file_name(address: str) -> str:
    """Return the name of the file that an address of Label Studio means."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d", [])
    return local[0] if local else UPLOADED.sub("", PurePosixPath(unquote(parts.path)).name)


def _cvat_images(tree: ElementTree.Element) -> Iterator[Annotation]:
    if tree.tag != "annotations":
        raise ValueError(f"XML of {tree.tag!r}")
    for image in tree.iter("image"):
        size = int(image.attrib["height"]), int(image.attrib["width"])
        shapes = sorted(image, key=lambda shape: int(shape.get("z_order", 0)))
        labels = [shape.attrib["label"] for shape in shapes if "label" in shape.attrib]
        annotation = Annotation(image.attrib["name"], labels)
        for shape in shapes:
            if shape.tag == "polygon":
                points = [pair.split(",") for pair in shape.attrib["points"].split(";")]
                annotation.layers.append((shape.attrib["label"], _filled(np.array(points, float), size)))
            elif shape.tag == "mask":
                annotation.layers.append((shape.attrib["label"], _run_lengths(shape.attrib, size)))
        annotation.masked = bool(annotation.layers)
        yield annotation


def _run_lengths(attributes: dict[str, str], size: tuple[int, int]) -> np.ndarray:
    """Return the mask, bool of `size`, of CVAT's runs in a box: lengths of background and mask in turn, by rows."""
    left, top, width, height = (int(attributes[key]) for key in ("left", "top", "width", "height"))
    runs = [int(length) for length in attributes["rle"].split(",")]
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    plane = np.zeros(size, bool)
    plane[top : top + height, left : left + width] = values.reshape(height, width)
    return plane


def _filled(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels, bool of `size`, with centres in a polygon of points (x, y); (0, 0) is the image's corner."""
    return rle.decode(rle.merge(rle.frPyObjects([points.ravel().tolist()], *size))).astype(bool)


def _cvat_zip(archive: ZipFile) -> Iterator[Annotation]:
    names = archive.namelist()
    if "annotations.xml" in names:
        yield from _cvat_images(ElementTree.fromstring(archive.read("annotations.xml")))
        return
    lines = archive.read("labelmap.txt").decode("utf-8-sig").splitlines()
    rows = [line.split(":") for line in lines if ":" in line and not line.startswith("#")]
    colours = {tuple(map(int, row[1].split(","))): row[0] for row in rows}
    for name in names:
        if name.startswith(MASKS) and name.endswith(".png"):
            picture = np.array(Image.open(BytesIO(archive.read(name))).convert("RGB"))
            layers = []
            for colour in map(tuple, np.unique(picture.reshape(-1, 3), axis=0).tolist()):
                if any(colour) and colour not in colours:
                    raise ValueError(f"{name}: the colour {colour}, which labelmap.txt does not have")
                if any(colour):
                    layers.append((colours[colour], (picture == colour).all(axis=2)))
            yield Annotation(name.removeprefix(MASKS)[:-4], [label for label, _ in layers], layers, masked=True)
