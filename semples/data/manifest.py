"""The manifest: one table a data set. Everything after `data` reads it and nothing else.

`manifest.csv` has the columns
    id      unique, any text
    image   path, absolute or relative to the manifest's folder
    mask    path of a palette or grey PNG, or empty
    split   train, val, ... ; several separated by ';' (VOC train lies inside train_aug)
    width, height   pixels
    labels  class names separated by ';', or empty
`classes.csv` beside it has name, text (the words used in prompts) and colour (#rrggbb), in class order.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from semples.data.images import IGNORE
from semples.errors import SemplesError
from semples.files import atomic_path, digest, require

TEXT = ["id", "image", "mask", "split", "labels"]
COLUMNS = ["id", "image", "mask", "split", "width", "height", "labels"]


@dataclass(frozen=True)
class Classes:
    """Object classes in order; class k of this list is index k + 1 in a mask."""

    names: tuple[str, ...]
    texts: tuple[str, ...]
    colours: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def palette(self) -> np.ndarray:
        """uint8 (256, 3) RGB: background black, the classes' colours, void (255) light grey-pink as in VOC."""
        palette = np.zeros((256, 3), np.uint8)
        for index, colour in enumerate(self.colours, start=1):
            palette[index] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        palette[255] = (224, 224, 192)
        return palette


@dataclass(frozen=True)
class Manifest:
    """The table of a data set, with its classes. `table.image` and `table.mask` are absolute paths here."""

    table: pd.DataFrame
    classes: Classes

    def __len__(self) -> int:
        return len(self.table)

    def split(self, name: str) -> "Manifest":
        """The rows of one split; an empty one is an error."""
        rows = self.table[[name in cell.split(";") for cell in self.table["split"]]]
        if rows.empty:
            known = list(split_counts(self.table))
            raise SemplesError(f"split {name!r}", "no image", f"one of {known}", "name another split in the config")
        return Manifest(rows.reset_index(drop=True), self.classes)

    def with_labels(self) -> "Manifest":
        """The rows with at least one label; images without one cannot train a class."""
        return Manifest(self.table[self.table["labels"] != ""].reset_index(drop=True), self.classes)

    def with_masks(self) -> "Manifest":
        """The rows that have a mask."""
        return Manifest(self.table[self.table["mask"] != ""].reset_index(drop=True), self.classes)

    def sample(self, count: int, seed: int) -> "Manifest":
        """At most `count` rows, drawn at random, in the table's order."""
        rows = np.sort(np.random.default_rng(seed).permutation(len(self))[:count])
        return Manifest(self.table.iloc[rows].reset_index(drop=True), self.classes)

    def label_matrix(self) -> np.ndarray:
        """float32 (images, classes), 1 where the class is present."""
        column = {name: k for k, name in enumerate(self.classes.names)}
        matrix = np.zeros((len(self), len(self.classes)), np.float32)
        for row, cell in enumerate(self.table["labels"]):
            for name in filter(None, cell.split(";")):
                matrix[row, column[name]] = 1
        return matrix

    def digest(self) -> str:
        """Digest of everything but the paths, so that a moved data set keeps it."""
        return digest([self.classes.names, self.classes.texts, self.table[["id", *COLUMNS[3:]]].values.tolist()])


def write_manifest(path: Path, table: pd.DataFrame, classes: Classes) -> None:
    """Write `path` and `classes.csv` beside it, checked."""
    path = Path(path)
    _check(path, table, classes)
    frame = pd.DataFrame({"name": classes.names, "text": classes.texts, "colour": classes.colours})
    with atomic_path(path.with_name("classes.csv")) as partial:
        frame.to_csv(partial, index=False)
    with atomic_path(path) as partial:
        table[COLUMNS].to_csv(partial, index=False)


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest with its classes file."""
    path = require(Path(path), "data")
    table = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False)
    classes = read_classes(path.with_name("classes.csv"))
    _check(path, table, classes)
    for column in ("image", "mask"):
        table[column] = [str(path.parent / cell) if cell else "" for cell in table[column]]
    return Manifest(table, classes)


def read_classes(path: Path) -> Classes:
    """Read `classes.csv`: columns name, text, colour."""
    frame = pd.read_csv(require(path, "data"), dtype=str, keep_default_na=False)
    if missing := {"name", "text", "colour"} - set(frame.columns):
        raise SemplesError(path, f"columns {list(frame.columns)}", f"also {sorted(missing)}", "add the columns")
    return Classes(tuple(frame["name"]), tuple(frame["text"]), tuple(frame["colour"]))


def split_counts(table: pd.DataFrame) -> dict[str, int]:
    """Images in every split of a manifest's table, by name; an image may be in several."""
    names = table["split"].str.split(";").explode()
    return names[names != ""].value_counts().sort_index().to_dict()


def _check(path: Path, table: pd.DataFrame, classes: Classes) -> None:
    if missing := set(COLUMNS) - set(table.columns):
        raise SemplesError(path, f"columns {list(table.columns)}", f"also {sorted(missing)}", "add the columns")
    repeated = table["id"][table["id"].duplicated()]
    if len(repeated):
        raise SemplesError(path, f"id {repeated.iloc[0]!r} twice", "unique ids", "rename one of the two")
    outside = table["id"][[cell.startswith("/") or ".." in cell.split("/") for cell in table["id"]]]
    if len(outside):
        raise SemplesError(path, f"id {outside.iloc[0]!r}", "a name without '..' and leading '/'", "change the id")
    if not 1 <= len(classes) < IGNORE:
        raise SemplesError(path, f"{len(classes)} classes", "1 to 254, the indices of a mask", "correct the classes")
    known = set(classes.names)
    if len(known) < len(classes):
        raise SemplesError(path, "a class twice", "each class once", "correct the classes file")
    for image, cell in zip(table["id"], table["labels"], strict=True):
        if unknown := set(filter(None, cell.split(";"))) - known:
            raise SemplesError(
                path,
                f"label {sorted(unknown)[0]!r} on image {image!r}",
                f"one of the {len(known)} classes: {', '.join(classes.names)}",
                "correct the label, or add the class to the classes file",
            )
