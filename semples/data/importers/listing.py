"""Which photographs, labels, masks and splits somebody's own data set has, before any image is opened.

The workflow asks this while it plans, in an environment that may have little installed: CSV and folders are read with
the standard library alone.
"""

import csv
import os
from collections import Counter
from hashlib import sha256
from pathlib import Path

from semples.config.settings import Data
from semples.errors import SemplesError

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
TABLES = {".csv", ".parquet"}
COLUMNS = ("id", "image", "mask", "split", "labels")
LAYOUTS = "a table (.csv, .parquet), a folder with labels.csv, or a folder with one folder a class"


def masked_splits(data: Data) -> set[str]:
    """The splits that have true masks to be judged by; a data set that is not there yet has none of its own."""
    if data.source != "photos":
        return {data.train, data.val}
    if not data.root or not Path(data.root).exists():
        return set()
    return {name for row in list_images(data) if row["mask"] for name in row["split"].split(";")}


def table_files(data: Data) -> list[str]:
    """The files that say what somebody's own data set has; when one of them changes, the manifest is made anew."""
    if data.source != "photos" or not data.root:
        return []
    root = Path(data.root)
    folder = root.parent if root.is_file() else root
    named = [root if root.is_file() else root / "labels.csv", Path(data.classes or folder / "classes.csv")]
    return [str(path) for path in named if path.is_file()]


def list_images(data: Data) -> list[dict[str, str]]:
    """A dictionary an image with the keys id, image, mask (absolute paths), split and labels, in order of the ids."""
    root = Path(data.root).resolve()
    table = root if root.is_file() else root / "labels.csv"
    found = _of_table(table) if table.is_file() else _of_folders(root)
    if not found:
        raise SemplesError(root, "no image", LAYOUTS, "put photographs there")
    found.sort(key=lambda row: row["id"])
    _split(found, data)
    return found


def unlisted_images(data: Data) -> list[str]:
    """Photographs in the folder of labels.csv that no line of it names as image or mask, relative to the folder."""
    root = Path(data.root).resolve()
    if data.source != "photos" or not (root / "labels.csv").is_file():
        return []
    named = {os.path.normpath(row[key]) for row in list_images(data) for key in ("image", "mask")}
    return sorted(str(path) for path in image_files(root) if str(root / path) not in named)


def _of_table(path: Path) -> list[dict[str, str]]:
    lines = _read(path)
    columns = set(lines[0]) if lines else set()
    if missing := {"image", "labels"} - columns:
        raise SemplesError(path, f"columns {sorted(columns)}", f"also {sorted(missing)}", "add the columns")
    found = [{key: line.get(key) or "" for key in COLUMNS} for line in lines]
    for row, image_id in zip(found, image_ids([Path(row["image"]) for row in found]), strict=True):
        row["id"] = row["id"] or image_id
        row["image"] = str(path.parent / row["image"])
        row["mask"] = str(path.parent / row["mask"]) if row["mask"] else ""
        labels = (label.strip() for label in row["labels"].split(";"))
        row["labels"] = ";".join(dict.fromkeys(filter(None, labels)))
    return found


def _read(path: Path) -> list[dict[str, str]]:
    if path.suffix.lower() not in TABLES:
        raise SemplesError(path, f"suffix {path.suffix!r}", LAYOUTS, "name another file in `data.root`")
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SemplesError(path, f"unreadable: {error}", "comma-separated text in UTF-8", "save it as such") from error
    for number, line in enumerate(lines, start=2):
        if None in line:
            raise SemplesError(
                path, f"line {number} has too many cells", "as many as the header", "separate labels by ';'"
            )
    return lines


def _read_parquet(path: Path) -> list[dict[str, str]]:
    try:
        from pyarrow import parquet

        lines = parquet.read_table(path).to_pylist()
    except (ImportError, OSError, ValueError) as error:
        raise SemplesError(
            path, f"unreadable: {error}", "a Parquet table, and pyarrow installed", "repair it, or save it as CSV"
        ) from error
    return [{key: "" if value is None else str(value) for key, value in line.items()} for line in lines]


def _of_folders(root: Path) -> list[dict[str, str]]:
    """The label of an image is the first folder under `root` that it lies in."""
    paths = image_files(root)
    if paths and all(len(path.parts) == 1 for path in paths):
        raise SemplesError(root, f"{len(paths)} photographs without labels", LAYOUTS, "write labels.csv beside them")
    return [
        {
            "id": image_id,
            "image": str(root / path),
            "mask": "",
            "split": "",
            "labels": path.parts[0] if len(path.parts) > 1 else "",
        }
        for path, image_id in zip(paths, image_ids(paths), strict=True)
    ]


def image_files(root: Path) -> list[Path]:
    """Files under `root` that look like pictures, relative to it."""
    return [
        Path(folder, name).relative_to(root)
        for folder, _, names in os.walk(root)
        for name in names
        if Path(name).suffix.lower() in PICTURES and not name.startswith(".")
    ]


def image_ids(paths: list[Path]) -> list[str]:
    """Names of images: their paths without suffix, with it where two would be the same; no '..', no leading '/'."""
    names = ["/".join(part for part in path.parts if part not in ("..", path.anchor)) for path in paths]
    stems = [name.removesuffix(path.suffix) for name, path in zip(names, paths, strict=True)]
    count = Counter(stems)
    return [name if count[stem] > 1 else stem for name, stem in zip(names, stems, strict=True)]


def _split(found: list[dict[str, str]], data: Data) -> None:
    """Give the rows without a split one: a share of them, chosen by a digest of seed and id, validates."""
    open_rows = [row for row in found if not row["split"]]
    validating = round(len(open_rows) * data.val_fraction)
    if len(open_rows) == 1 or data.val_fraction == 0:
        for row in open_rows:
            row["split"] = ";".join(dict.fromkeys([data.train, data.val]))
        return
    validating = min(max(validating, 1), len(open_rows) - 1)
    drawn = sorted(open_rows, key=lambda row: sha256(f"{data.seed}:{row['id']}".encode()).digest())
    for place, row in enumerate(drawn):
        row["split"] = data.val if place < validating else data.train
