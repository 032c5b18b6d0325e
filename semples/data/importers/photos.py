"""Your own photographs: a table of labels, a folder with labels.csv, or one folder per class."""

import re
from pathlib import Path

import pandas as pd

from semples.config.settings import Data
from semples.data.images import class_colours
from semples.data.importers.listing import classes_file, list_images
from semples.data.manifest import Classes
from semples.errors import SemplesError

COLOUR = re.compile("#[0-9a-fA-F]{6}")


def load(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """Return classes and table of `data.root` without opening an image."""
    table = pd.DataFrame(list_images(data))
    labels = sorted({label for cell in table["labels"] for label in cell.split(";") if label})
    if not labels:
        raise SemplesError(data.root, "no label on any image", "image-level labels", "label some images")
    if data.classes and not Path(data.classes).is_file():
        raise SemplesError(data.classes, "no such file", "a classes file", "correct `data.classes`")
    classes = _classes(classes_file(data), labels)
    order = {name: index for index, name in enumerate(classes.names)}
    cells = [sorted(cell.split(";"), key=lambda name: order.get(name, -1)) for cell in table["labels"]]
    table["labels"] = [";".join(cell) for cell in cells]
    return classes, table


def _classes(path: Path, labels: list[str]) -> Classes:
    """Read the classes from a file, or take the labels where there is none; texts and colours have defaults."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False) if path.is_file() else pd.DataFrame({"name": labels})
    if "name" not in frame:
        raise SemplesError(path, f"columns {list(frame.columns)}", "the column 'name'", "add it")
    frame = frame.reindex(columns=["name", "text", "colour"], fill_value="")
    if wrong := [colour for colour in frame["colour"] if colour and not COLOUR.fullmatch(colour)]:
        raise SemplesError(path, f"colour {wrong[0]!r}", "#rrggbb, or nothing", "correct it")
    texts = frame["text"].where(frame["text"] != "", frame["name"].str.replace("_", " "))
    colours = frame["colour"].where(frame["colour"] != "", pd.Series(class_colours(len(frame))))
    return Classes(tuple(frame["name"]), tuple(texts), tuple(colours))
