"""Your own photographs: a table of labels, a folder with labels.csv, or one folder per class."""

import re
from collections import defaultdict
from pathlib import Path

import pandas as pd

from semples.config.settings import Data
from semples.data.images import class_colours
from semples.data.importers.listing import classes_file, read_classes_file, read_listing, unlisted_images
from semples.data.manifest import Classes, missing_splits
from semples.data.names import natural_order
from semples.errors import SemplesError

COLOUR = re.compile("#[0-9a-fA-F]{6}")


def load(data: Data, folder: Path, processes: int) -> tuple[Classes, pd.DataFrame]:
    """Return classes and table of `data.root` without opening an image; print what was left out."""
    rows, notes = read_listing(data)
    table = pd.DataFrame(rows)
    labels = sorted({label for cell in table["labels"] for label in cell.split(";") if label}, key=natural_order)
    if not labels:
        raise SemplesError(data.root, "no label on any image", "image-level labels", "label some images")
    if data.classes and not Path(data.classes).is_file():
        raise SemplesError(data.classes, "no such file", "a classes file", "correct `data.classes`")
    path = classes_file(data)
    listed, left_out = read_classes_file(path)
    classes = _classes(path, pd.DataFrame(listed) if path.is_file() else pd.DataFrame({"name": labels}))
    _require_clear(data, table, labels, classes.names, path.is_file())
    notes += [f"{path}: {name!r} is no class: left out" for name in left_out]
    if unlisted := unlisted_images(data, [*table["image"], *table["mask"]]):
        notes += [f"{len(unlisted)} images that no line of the table names, such as {unlisted[0]}: left out"]
    print(*notes, sep="\n", end="\n" if notes else "")
    order = {name: index for index, name in enumerate(classes.names)}
    cells = [sorted(cell.split(";"), key=lambda name: order.get(name, -1)) for cell in table["labels"]]
    table["labels"] = [";".join(cell) for cell in cells]
    return classes, table


def _require_clear(data: Data, table: pd.DataFrame, labels: list[str], names: tuple[str, ...], listed: bool) -> None:
    """Raise SemplesError for two spellings of a class, a class that is in no training image, and masks of numbers.

    Args:
        listed: Whether a classes file gives the order of the classes.
    """
    spellings = defaultdict(set)
    for name in {*labels, *names}:
        spellings[re.sub(r"[\s_\u200b-\u200f\ufeff-]+", "", name).casefold()].add(name)
    if several := [sorted(group) for group in spellings.values() if len(group) > 1]:
        problem = f"classes {' and '.join(map(repr, several[0]))}"
        raise SemplesError(data.root, problem, "one spelling of a class", "correct the labels or the classes file")
    numbers = [str(index) for index in range(1, len(labels) + 1)]
    if not listed and table["mask"].any() and labels != numbers and all(map(str.isdecimal, labels)):
        problem, expected = f"masks, and the classes {', '.join(labels)}", f"{', '.join(numbers)}, indices of the masks"
        raise SemplesError(data.root, problem, expected, "write classes.csv with a line per index of the masks, from 1")
    for error in missing_splits(table, {"data.train": data.train, "data.val": data.val}):
        raise error
    rows = [data.train in cell.split(";") for cell in table["split"]]
    trained = {name for cell in table["labels"][rows] for name in cell.split(";")}
    if missing := [name for name in labels if name not in trained]:
        problem, expected = f"class {missing[0]!r} on no image of the split {data.train!r}", "images to learn it from"
        raise SemplesError(data.root, problem, expected, "put some of its images there, or remove the label")


def _classes(path: Path, frame: pd.DataFrame) -> Classes:
    """Return the classes of a table; texts and colours have defaults."""
    frame = frame.reindex(columns=["name", "text", "colour"], fill_value="")
    if wrong := [colour for colour in frame["colour"] if colour and not COLOUR.fullmatch(colour)]:
        raise SemplesError(path, f"colour {wrong[0]!r}", "#rrggbb, or nothing", "correct it")
    texts = frame["text"].where(frame["text"] != "", frame["name"].str.replace("_", " "))
    colours = frame["colour"].where(frame["colour"] != "", pd.Series(class_colours(len(frame))))
    return Classes(tuple(frame["name"]), tuple(texts), tuple(colours))
