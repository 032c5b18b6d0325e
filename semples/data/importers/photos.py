"""Photographs of your own: a table of labels, a folder with labels.csv, or a folder a class."""

import re
from pathlib import Path

import pandas as pd

from semples.config.settings import Data
from semples.data.images import class_colours
from semples.data.importers.listing import list_images
from semples.data.manifest import Classes
from semples.errors import SemplesError

COLOUR = re.compile("#[0-9a-fA-F]{6}")


def load(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """The classes and the images that `data.root` has; nothing is opened but tables."""
    table = pd.DataFrame(list_images(data))
    found = sorted({label for cell in table["labels"] for label in cell.split(";") if label})
    if not found:
        raise SemplesError(data.root, "no label on any image", "image-level labels", "label some images")
    classes = _classes(_classes_file(data), found)
    order = {name: place for place, name in enumerate(classes.names)}
    table["labels"] = [
        ";".join(sorted(filter(None, cell.split(";")), key=lambda name: order.get(name, -1)))
        for cell in table["labels"]
    ]
    return classes, table


def _classes_file(data: Data) -> Path | None:
    """The file that the settings name, or classes.csv beside the table."""
    if data.classes:
        if not Path(data.classes).is_file():
            raise SemplesError(data.classes, "no such file", "a classes file", "correct `data.classes`")
        return Path(data.classes)
    root = Path(data.root)
    beside = (root.parent if root.is_file() else root) / "classes.csv"
    return beside if beside.is_file() else None


def _classes(path: Path | None, found: list[str]) -> Classes:
    """Classes of a file, or the labels found; texts and colours are made up where the file gives none."""
    frame = pd.DataFrame({"name": found}) if path is None else pd.read_csv(path, dtype=str, keep_default_na=False)
    if "name" not in frame:
        raise SemplesError(path, f"columns {list(frame.columns)}", "the column 'name'", "add it")
    names = tuple(frame["name"])
    if wrong := [colour for colour in frame.get("colour", ()) if colour and not COLOUR.fullmatch(colour)]:
        raise SemplesError(path, f"colour {wrong[0]!r}", "#rrggbb, or nothing", "correct it")
    texts = frame.get("text", pd.Series([""] * len(names)))
    colours = frame.get("colour", pd.Series([""] * len(names)))
    return Classes(
        names,
        tuple(text or name.replace("_", " ") for name, text in zip(names, texts, strict=True)),
        tuple(colour or made_up for colour, made_up in zip(colours, class_colours(len(names)), strict=True)),
    )
