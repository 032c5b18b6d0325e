"""List the photographs, labels, masks and splits of a user's data set without opening an image.

The workflow calls this while Snakemake plans, where few packages are installed; CSV needs the standard library alone.
"""

import os
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

from semples.config.settings import Data
from semples.data.importers.folders import LAYOUTS, image_files, read_folders
from semples.data.importers.spreadsheet import read_table
from semples.data.importers.table import Row, read_labels_table
from semples.data.names import CLASS, IMAGE_ID, NO_OBJECT, VOID, means_no_object, require_names
from semples.errors import SemplesError


def masked_splits(data: Data) -> set[str]:
    """Return the splits that have ground truth; of your own photographs, none before `data.root` exists."""
    if data.source != "photos":
        return {data.train, data.val}
    if not data.root or not Path(data.root).exists():
        return set()
    return {name for row in list_images(data) if row["mask"] for name in row["split"].split(";")}


def table_files(data: Data) -> list[str]:
    """Return the tables of a user's data set; a change of one of them reruns `data`."""
    if data.source != "photos" or not data.root:
        return []
    return [str(path) for path in (_table(Path(data.root)), classes_file(data)) if path and path.is_file()]


def _table(root: Path) -> Path | None:
    """Return `root` if it is a file, or the table in it: labels.csv, .tsv or .parquet, in small or large letters."""
    if not root.is_dir():
        return root if root.is_file() else None
    paths = [path for path in root.iterdir() if path.name.lower() in ("labels.csv", "labels.tsv", "labels.parquet")]
    if len(paths) > 1:
        names = " and ".join(sorted(path.name for path in paths))
        raise SemplesError(root, names, "one table", "name one of them in `data.root`")
    return paths[0] if paths else None


def classes_file(data: Data) -> Path:
    """Return the path of the classes file: `data.classes`, or classes.csv beside the table; it may not exist."""
    root = Path(data.root)
    return Path(data.classes or (root.parent if root.is_file() else root) / "classes.csv")


def read_classes_file(path: Path) -> tuple[list[Row], list[str]]:
    """Return the rows of a classes file, and the names at its ends that mean background or void, which are left out.

    Such a name stands for index 0 (the first ones) or 255 (the last ones) of the masks, so that no index changes.
    """
    if not path.is_file():
        return [], []
    lines, left_out = read_table(path, "name"), list[str]()
    if blank := [number for number, row in lines if not row["name"]]:
        raise SemplesError(path, f"line {blank[0]} without a name", "the name of a class", "complete the line")
    rows = [row for _, row in lines]
    for end, meanings in ((0, NO_OBJECT), (-1, VOID)):
        while rows and means_no_object(rows[end]["name"], meanings):
            left_out.append(rows.pop(end)["name"])
    if inner := [row["name"] for row in rows if means_no_object(row["name"])]:
        expected = "the classes in the order of the masks' indices, 1 for the first; background is 0 and void 255"
        raise SemplesError(path, f"{inner[0]!r} between classes", expected, "remove it, and number the masks like that")
    for index, row in enumerate(rows, start=1):
        if (value := next((row[key] for key in ("id", "index", "value") if key in row), str(index))) != str(index):
            problem, remedy = f"index {value!r} of {row['name']!r} in line {index}", "sort the lines by masks' index"
            raise SemplesError(path, problem, "1, 2, ... in the order of the lines", remedy)
    return rows, left_out


def list_images(data: Data) -> list[Row]:
    """Return one row per image in the order of the ids: id, image and mask (absolute paths), split and labels."""
    return read_listing(data)[0]


def read_listing(data: Data) -> tuple[list[Row], list[str]]:
    """Return the rows of `list_images`, and a note on everything that was left out or put together.

    Raises:
        SemplesError: `data.root` holds no image or no labels, may mean two things, or its table is broken.
    """
    root = Path(data.root).resolve()
    table, classes = _table(root), {row["name"] for row in read_classes_file(classes_file(data))[0]}
    if table:
        rows, notes = read_labels_table(table, data.separator, classes)
    else:
        images, notes = read_folders(root, data, classes)
        require_names(root, "folder", {label for *_, label in images if label}, CLASS, "rename it")
        cells = ((str(path), split, normalize("NFC", label)) for path, split, label in images)
        rows = [
            {"id": "", "image": str(root / file), "mask": "", "split": split, "labels": label, "file": file}
            for file, split, label in cells
        ]
    if not rows:
        raise SemplesError(root, "no image", LAYOUTS, "put photographs there")
    for row, image_id in zip(rows, image_ids([Path(row.pop("file")) for row in rows]), strict=True):
        row["id"] = row["id"] or image_id
    remedy = "rename the file, or write labels.csv with the columns id, image and labels"
    require_names(table or root, "id", (row["id"] for row in rows), IMAGE_ID, remedy)
    rows.sort(key=lambda row: row["id"])
    notes += _leave_out_background(rows)
    assign_splits(rows, data)
    return rows, notes


def _leave_out_background(rows: list[Row]) -> list[str]:
    """Remove labels that mean background or void; return a note on each."""
    counts: Counter[str] = Counter()
    for row in rows:
        labels = row["labels"].split(";")
        counts.update(background := [label for label in labels if means_no_object(label)])
        row["labels"] = ";".join(label for label in labels if label not in background)
    return [f"label {name!r} of {count} images is no class: left out" for name, count in sorted(counts.items())]


def unlisted_images(data: Data, paths: Iterable[str]) -> list[str]:
    """Return the images beside labels.csv, relative to the folder, that are not in `paths`, those of its lines."""
    root = Path(data.root).resolve()
    if data.source != "photos" or root.is_file() or not _table(root):
        return []
    listed = set(map(os.path.normpath, paths))
    return sorted(str(path) for path in image_files(root) if str(root / path) not in listed)


def image_ids(paths: list[Path]) -> list[str]:
    """Return paths as ids, without '..' and leading '/'; the suffix stays only where two ids would be equal."""
    names = ["/".join(part for part in path.parts if part not in ("..", path.anchor)) for path in paths]
    stems = [name.removesuffix(path.suffix) for name, path in zip(names, paths, strict=True)]
    count = Counter(stems)
    return [name if count[stem] > 1 else stem for name, stem in zip(names, stems, strict=True)]


def assign_splits(rows: list[Row], data: Data) -> None:
    """Assign rows without a split to training or validation, by a digest of seed and id; every class trains."""
    unassigned = [row for row in rows if not row["split"]]
    unassigned.sort(key=lambda row: sha256(f"{data.seed}:{row['id']}".encode()).digest())
    count = min(max(round(len(unassigned) * data.val_fraction), 1), len(unassigned) - 1)
    both = ";".join(dict.fromkeys([data.train, data.val]))
    for index, row in enumerate(unassigned):
        single = len(unassigned) == 1 or data.val_fraction == 0
        row["split"] = both if single else data.val if index < count else data.train
    trained = {label for row in rows if data.train in row["split"].split(";") for label in row["labels"].split(";")}
    for row in unassigned:
        if not trained.issuperset(filter(None, row["labels"].split(";"))):
            row["split"], count = data.train if count > 1 else both, count - 1
            trained.update(row["labels"].split(";"))
