"""Read the table of a user's photographs: one line an image, or several; labels in a cell, or a column per class."""

import os
import re
from collections import Counter
from pathlib import Path
from unicodedata import normalize

from semples.data.importers.folders import LAYOUTS
from semples.data.importers.spreadsheet import read_table, split_labels
from semples.data.names import CLASS, require_names
from semples.errors import SemplesError

Row = dict[str, str]
KEYS = ("id", "image", "mask", "split", "labels")
YES, NO = {"1", "1.0", "true"}, {"", "0", "0.0", "false"}
NO_CLASS = re.compile(r"|unnamed.*|index|__index.*|label|class|category|target", re.IGNORECASE)
WHICH = "set `data.separator` to what separates labels (';' if this is one label), or list the classes in classes.csv"


def read_labels_table(path: Path, separator: str, classes: set[str]) -> tuple[list[Row], list[str]]:
    """Return a row per image, with the key `file` for the path as the table has it, and what was put together.

    Args:
        separator: What separates the labels of a cell; if empty, ';'.
        classes: Names in the classes file, if there is one.
    """
    if path.suffix.lower() not in (".csv", ".tsv", ".txt", ".parquet"):
        raise SemplesError(path, f"suffix {path.suffix!r}", LAYOUTS, "name another file in `data.root`")
    lines, rows = read_table(path, "image"), dict[str, Row]()
    columns = [] if lines and "labels" in lines[0][1] else _class_columns(path, lines)
    for number, cells in lines:
        labels = [name for name in columns if cells[name].lower() in YES] if columns else None
        labels = split_labels(cells["labels"], separator or ";") if labels is None else labels
        if labels is None:
            problem = f"line {number}: labels {cells['labels']!r}"
            raise SemplesError(path, problem, "labels separated by ';', or a list of texts", "correct the cell")
        if not cells["image"]:
            raise SemplesError(path, f"line {number} without an image", "the path of an image", "complete the line")
        row = {key: cells.get(key, "") for key in KEYS} | {"labels": _join(labels)}
        row |= {"split": _join(row["split"].split(";")), "file": _existing(path.parent, cells["image"])}
        row |= {"image": str(path.parent / row["file"])}
        row["mask"] = str(path.parent / _existing(path.parent, row["mask"])) if row["mask"] else ""
        first = rows.setdefault(os.path.normpath(row["image"]), row)
        for key in ("id", "mask", "split"):
            if first[key] and row[key] and first[key] != row[key]:
                problem = f"line {number}: {key} {row[key]!r} for an image that has {first[key]!r} above"
                raise SemplesError(path, problem, f"one {key} per image", "correct one of the two lines")
            first[key] = first[key] or row[key]
        first["labels"] = _join([*first["labels"].split(";"), *row["labels"].split(";")])
    if not separator and not columns:
        _divide_labels(path, list(rows.values()), classes)
    repeated = len(lines) - len(rows)
    note = f"{repeated} lines name an image that another line names: their labels were put together"
    return list(rows.values()), [note] if repeated else []


def _join(names: list[str]) -> str:
    return ";".join(dict.fromkeys(filter(None, map(str.strip, names))))


def _existing(folder: Path, cell: str) -> str:
    """Return a cell, with slashes for backslashes or decomposed letters if only that file exists."""
    if "\\" not in cell and cell.isascii():
        return cell
    names = (cell, slashes := cell.replace("\\", "/"), normalize("NFD", cell), normalize("NFD", slashes))
    return next((name for name in names if (folder / name).exists()), cell)


def _class_columns(path: Path, lines: list[tuple[int, Row]]) -> list[str]:
    """Return the columns of a table without the column labels, each of which is a class and holds 0 or 1."""
    columns = [name for name in (lines[0][1] if lines else ()) if name not in KEYS and not NO_CLASS.fullmatch(name)]
    wrong = [name for name in columns for _, cells in lines if cells[name].lower() not in YES | NO]
    if wrong or not columns:
        others = f" with other values in {wrong[0]!r}" if wrong else ""
        problem = f"columns {sorted(lines[0][1]) if lines else []}{others}"
        expected = "also ['labels'], or columns of 0 and 1 named like classes"
        raise SemplesError(path, problem, expected, "add the columns")
    require_names(path, "class", columns, CLASS, "rename the column")
    return columns


def _divide_labels(path: Path, rows: list[Row], classes: set[str]) -> None:
    """Divide labels into names of the classes file; without one, a label that looks like several is an error."""
    labels = {label for row in rows for label in row["labels"].split(";") if label} - classes
    parts = {label: re.findall(r"[^\W_]+", label) for label in labels}
    count = Counter(part for label in labels for part in {*parts[label]})
    divided = {}
    for label in sorted(labels):
        options = (re.split(r"\s*[,|/]\s*", label), label.split())
        divided[label] = next((names for names in options if classes.issuperset(names)), [label])
        if not classes and (
            re.search(r"[,|\t\n]", label) or (len(parts[label]) > 1 and min(count[part] for part in parts[label]) > 1)
        ):
            raise SemplesError(path, f"label {label!r}, which may be several", "labels separated by ';'", WHICH)
    for row in rows:
        row["labels"] = _join([name for label in row["labels"].split(";") for name in divided.get(label, [label])])
