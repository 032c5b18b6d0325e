"""The manifest: the table of a data set, which is all that later stages read of it.

`manifest.csv` has one row per image:
    id             unique text
    image          path, absolute or relative to the manifest's folder
    mask           path of a palette or grey PNG, or empty
    split          names separated by ';' (VOC's train is part of train_aug)
    width, height  pixels
    labels         class names separated by ';', or empty
`classes.csv` beside it has one row per class, in class order: name, text (the words in prompts) and colour (#rrggbb).
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from semples.colours import OKABE_ITO
from semples.data.csv_file import read_csv, write_csv
from semples.data.images import IGNORE, class_colours
from semples.data.names import CLASS, IMAGE_ID, READABLE, means_no_object, name_problems
from semples.errors import SemplesError
from semples.files import digest

log = logging.getLogger(__name__)
COLUMNS = ["id", "image", "mask", "split", "width", "height", "labels"]
SIZES = ["width", "height"]


@dataclass(frozen=True)
class Classes:
    """Object classes in order; class k has the index k + 1 in a mask."""

    names: tuple[str, ...]
    texts: tuple[str, ...]
    colours: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def palette(self) -> np.ndarray:
        """Return RGB uint8 (256, 3): black background, the classes' colours, void (255) in VOC's light colour."""
        palette = np.zeros((256, 3), np.uint8)
        colours = [list(bytes.fromhex(colour[1:])) for colour in self.colours[: IGNORE - 1]]
        palette[1 : len(colours) + 1] = colours
        palette[IGNORE] = (224, 224, 192)
        return palette

    def shown_palette(self) -> np.ndarray:
        """Return `palette()` for pictures to look at: up to seven classes in VOC's colours, which colour-blind readers
        confuse, have those of Okabe and Ito instead. Other colours stay."""
        if len(self) > len(OKABE_ITO) or tuple(self.colours) != class_colours(len(self)):
            return self.palette()
        return replace(self, colours=OKABE_ITO[: len(self)]).palette()


@dataclass(frozen=True)
class Manifest:
    """The table of a data set and its classes; in memory `table.image` and `table.mask` are absolute paths."""

    table: pd.DataFrame
    classes: Classes

    def __len__(self) -> int:
        return len(self.table)

    def split(self, name: str) -> "Manifest":
        """Return the rows of a split; raise SemplesError if it has none."""
        rows = self.table[[name in cell.split(";") for cell in self.table["split"]]]
        if rows.empty:
            expected = f"one of {list(split_counts(self.table))}"
            raise SemplesError(f"split {name!r}", "no image", expected, "name another split in config.yaml")
        return self._select(rows)

    def with_labels(self) -> "Manifest":
        """Return the rows with at least one label."""
        return self._select(self.table[self.table["labels"] != ""])

    def with_masks(self) -> "Manifest":
        """Return the rows with a mask."""
        return self._select(self.table[self.table["mask"] != ""])

    def sample(self, count: int, seed: int) -> "Manifest":
        """Return at most `count` rows, drawn at random, in the order of the table."""
        return self._select(self.table.iloc[np.sort(np.random.default_rng(seed).permutation(len(self))[:count])])

    def _select(self, rows: pd.DataFrame) -> "Manifest":
        return Manifest(rows.reset_index(drop=True), self.classes)

    def label_matrix(self) -> np.ndarray:
        """Return float32 (images, classes), 1 where the class is present."""
        cells = [cell.split(";") for cell in self.table["labels"]]
        matrix = [[name in cell for name in self.classes.names] for cell in cells]
        return np.array(matrix, np.float32).reshape(len(self), len(self.classes))

    def report_strays(self, masks: Path) -> None:
        """Log the PNG files in a folder of masks that are of no image: leftovers of another manifest."""
        ids = {*self.table["id"]}
        names = {path.relative_to(masks).with_suffix("").as_posix() for path in masks.rglob("*.png")}
        if strays := sorted(name for name in names - ids if name.removeprefix("confidence/") not in ids):
            listed = ", ".join(strays[:5]) + ", ..." * (len(strays) > 5)
            log.warning("%s: %d PNG of no image of the manifest, not read: %s", masks, len(strays), listed)

    def digest(self) -> str:
        """Return the digest of everything but the paths, so that a moved data set keeps it."""
        return digest([self.classes.names, self.classes.texts, self.table[["id", *COLUMNS[3:]]].values.tolist()])


def write_manifest(path: Path, table: pd.DataFrame, classes: Classes) -> None:
    """Check a table and its classes; write `path`, and `classes.csv` beside it."""
    path = Path(path)
    _check(path, table, classes)
    write_classes(path.with_name("classes.csv"), classes)
    write_csv(path, table[COLUMNS])


def write_classes(path: Path, classes: Classes) -> None:
    """Write a `classes.csv`."""
    write_csv(path, pd.DataFrame({"name": classes.names, "text": classes.texts, "colour": classes.colours}))


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest and the `classes.csv` beside it."""
    path, texts = Path(path), [name for name in COLUMNS if name not in SIZES]
    table = read_csv(path, "data", texts, SIZES)
    if not (table[SIZES] % 1 == 0).to_numpy().all():
        raise SemplesError(path, "a width or height that is no whole number", "pixels", "run `semples data` again")
    table = table.astype(dict.fromkeys(SIZES, int)).fillna(dict.fromkeys(texts, ""))
    classes = read_classes(path.with_name("classes.csv"))
    _check(path, table, classes)
    for column in ("image", "mask"):
        table[column] = [str(path.parent / cell) if cell else "" for cell in table[column]]
    return Manifest(table, classes)


def read_classes(path: Path) -> Classes:
    """Read a `classes.csv`."""
    frame = read_csv(path, "data", ["name", "text", "colour"]).fillna("")
    return Classes(tuple(frame["name"]), tuple(frame["text"]), tuple(frame["colour"]))


def split_counts(table: pd.DataFrame) -> dict[str, int]:
    """Count the images of a manifest's table by split name; an image may be in several splits."""
    names = table["split"].str.split(";").explode()
    return names[names != ""].value_counts().sort_index().to_dict()


def missing_splits(table: pd.DataFrame, names: dict[str, str]) -> Iterator[SemplesError]:
    """Yield a problem for every split without an image; `names` are the splits that settings name, by setting."""
    counts = split_counts(table)
    for key, name in names.items():
        if name not in counts:
            expected = f"one of {list(counts)}"
            yield SemplesError(key, f"split {name!r} without an image", expected, f"correct `{key}`")


def _check(path: Path, table: pd.DataFrame, classes: Classes) -> None:
    if missing := set(COLUMNS) - set(table.columns):
        raise SemplesError(path, f"columns {list(table.columns)}", f"also {sorted(missing)}", "add the columns")
    for problem in problems(path, table, classes):
        raise problem


def problems(where: object, table: pd.DataFrame, classes: Classes) -> Iterator[SemplesError]:
    """Yield what is wrong with the ids, classes and labels of a manifest or of an importer's table."""
    names, ids = classes.names, table["id"]
    for image in ids[ids.duplicated()]:
        yield SemplesError(where, f"id {image!r} twice", "unique ids", "rename one of the two")
    yield from name_problems(where, "id", ids, IMAGE_ID, "change the id")
    yield from name_problems(where, "class", names, CLASS, "correct the classes file")
    paths = [*table["image"], *table["mask"]]
    yield from name_problems(where, "path", paths, READABLE, "rename the file or folder", longest=None)
    for name in filter(means_no_object, names):
        expected = "classes of objects: background is index 0 of a mask, void 255"
        yield SemplesError(where, f"class {name!r}", expected, "remove it from the classes")
    if not 1 <= len(names) < IGNORE:
        expected = "1 to 254, the indices of a mask"
        yield SemplesError(where, f"{len(names)} classes", expected, "correct the classes")
    if len(set(names)) < len(names):
        yield SemplesError(where, "a class twice", "each class once", "correct the classes file")
    for image, cell in zip(ids, table["labels"], strict=True):
        if unknown := set(filter(None, cell.split(";"))).difference(names):
            problem = f"label {sorted(unknown)[0]!r} on image {image!r}"
            expected = f"one of the {len(names)} classes: {', '.join(names)}"
            yield SemplesError(where, problem, expected, "correct the label, or add the class to the classes file")
