"""List the photographs, labels, masks and splits of a user's data set without opening an image.

The workflow calls this while Snakemake plans, where few packages are installed; CSV needs the standard library alone.
"""

import csv
import os
from collections import Counter
from hashlib import sha256
from pathlib import Path

from semples.config.settings import Data
from semples.errors import SemplesError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
LAYOUTS = "a table (.csv, .parquet), a folder with labels.csv, or a folder with one folder per class"


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
    root = Path(data.root)
    paths = (root if root.is_file() else root / "labels.csv", classes_file(data))
    return [str(path) for path in paths if path.is_file()]


def classes_file(data: Data) -> Path:
    """Return the path of the classes file: `data.classes`, or classes.csv beside the table; it may not exist."""
    root = Path(data.root)
    return Path(data.classes or (root.parent if root.is_file() else root) / "classes.csv")


def list_images(data: Data) -> list[dict[str, str]]:
    """Return one row per image in the order of the ids: id, image and mask (absolute paths), split and labels.

    Raises:
        SemplesError: `data.root` holds no image or no labels, or its table is broken.
    """
    root = Path(data.root).resolve()
    table = root if root.is_file() else root / "labels.csv"
    rows = _rows_of_table(table) if table.is_file() else _rows_of_folders(root)
    if not rows:
        raise SemplesError(root, "no image", LAYOUTS, "put photographs there")
    rows.sort(key=lambda row: row["id"])
    assign_splits(rows, data)
    return rows


def unlisted_images(data: Data) -> list[str]:
    """Return the images beside labels.csv that no line of it names as image or mask, relative to the folder."""
    root = Path(data.root).resolve()
    if data.source != "photos" or not (root / "labels.csv").is_file():
        return []
    listed = {os.path.normpath(row[key]) for row in list_images(data) for key in ("image", "mask")}
    return sorted(str(path) for path in image_files(root) if str(root / path) not in listed)


def _rows_of_table(path: Path) -> list[dict[str, str]]:
    lines = _read_table(path)
    columns = set(lines[0]) if lines else set()
    if missing := {"image", "labels"} - columns:
        raise SemplesError(path, f"columns {sorted(columns)}", f"also {sorted(missing)}", "add the columns")
    rows = [{key: line.get(key) or "" for key in ("id", "image", "mask", "split", "labels")} for line in lines]
    for row, image_id in zip(rows, image_ids([Path(row["image"]) for row in rows]), strict=True):
        row["id"] = row["id"] or image_id
        row |= {key: str(path.parent / row[key]) for key in ("image", "mask") if row[key]}
        labels = (label.strip() for label in row["labels"].split(";"))
        row["labels"] = ";".join(dict.fromkeys(filter(None, labels)))
    return rows


def _read_table(path: Path) -> list[dict[str, str]]:
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise SemplesError(path, f"suffix {path.suffix!r}", LAYOUTS, "name another file in `data.root`")
    try:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            rows = parquet.read_table(path).to_pylist()
            return [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except (ImportError, OSError, ValueError, csv.Error) as error:
        expected = "comma-separated text in UTF-8, or a Parquet table and pyarrow installed"
        raise SemplesError(path, f"unreadable: {error}", expected, "save it as such") from error
    for number, line in enumerate(lines, start=2):
        if None in line:
            problem, expected = f"line {number} has too many cells", "as many as the header"
            raise SemplesError(path, problem, expected, "separate labels by ';'")
    return lines


def _rows_of_folders(root: Path) -> list[dict[str, str]]:
    """Label each image by the first folder under `root` that it lies in."""
    paths = image_files(root)
    labels = [path.parts[0] if len(path.parts) > 1 else "" for path in paths]
    if paths and not any(labels):
        raise SemplesError(root, f"{len(paths)} photographs without labels", LAYOUTS, "write labels.csv beside them")
    return [
        {"id": image_id, "image": str(root / path), "mask": "", "split": "", "labels": label}
        for path, image_id, label in zip(paths, image_ids(paths), labels, strict=True)
    ]


def image_files(root: Path) -> list[Path]:
    """Return the visible files under `root` with the suffix of an image format, relative to it."""
    files = (Path(folder, name).relative_to(root) for folder, _, names in os.walk(root) for name in names)
    return [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")]


def image_ids(paths: list[Path]) -> list[str]:
    """Return paths as ids, without '..' and leading '/'; the suffix stays only where two ids would be equal."""
    names = ["/".join(part for part in path.parts if part not in ("..", path.anchor)) for path in paths]
    stems = [name.removesuffix(path.suffix) for name, path in zip(names, paths, strict=True)]
    count = Counter(stems)
    return [name if count[stem] > 1 else stem for name, stem in zip(names, stems, strict=True)]


def assign_splits(rows: list[dict[str, str]], data: Data) -> None:
    """Assign rows without a split to training or validation, by a digest of seed and id."""
    unassigned = [row for row in rows if not row["split"]]
    unassigned.sort(key=lambda row: sha256(f"{data.seed}:{row['id']}".encode()).digest())
    count = min(max(round(len(unassigned) * data.val_fraction), 1), len(unassigned) - 1)
    both = ";".join(dict.fromkeys([data.train, data.val]))
    for index, row in enumerate(unassigned):
        single = len(unassigned) == 1 or data.val_fraction == 0
        row["split"] = both if single else data.val if index < count else data.train
