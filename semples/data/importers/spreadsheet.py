"""Read tables as spreadsheets and programs write them, with the standard library alone (Parquet needs pyarrow)."""

import codecs
import csv
import io
import json
import re
from itertools import zip_longest
from pathlib import Path
from unicodedata import normalize

from semples.errors import SemplesError

FORMATS = "text in UTF-8 or UTF-16 with commas, semicolons or tabs, or a Parquet table and pyarrow installed"
KNOWN = {"id", "image", "mask", "split", "labels", "name", "text", "colour"}  # these headers may be in any case
LIST = re.compile(r"\[.*\]|[({]\s*['\"].*[)}]", re.DOTALL)
QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")


def read_table(path: Path, needed: str) -> list[tuple[int, dict[str, str]]]:
    """Return line number and cells, without blanks around them, of every row that is not empty.

    Args:
        needed: A column of the header; the delimiter is the one that makes it a column.
    Raises:
        SemplesError: The file is unreadable, a column is missing or there twice, or a cell lies below no header.
    """
    try:
        table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path, needed)
    except (ImportError, OSError, ValueError, csv.Error) as error:
        raise SemplesError(path, f"unreadable: {error}", FORMATS, "save it as such") from error
    rows = [(line, [normalize("NFC", cell.strip()) for cell in cells]) for line, cells in table]
    (_, header), *rows = [(line, cells) for line, cells in rows if any(cells)] or [(1, [])]
    header = [name.lower() if name.lower() in KNOWN else name for name in header]
    header = ["colour" if name.lower() == "color" else name for name in header]
    if needed not in header:
        raise SemplesError(path, f"columns {sorted(header)}", f"also {[needed]}", "add the column")
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise SemplesError(path, f"columns {header}", f"{twice[0]!r} once", "delete or rename one of the two")
    result = []
    for line, cells in rows:
        first, *pairs = zip_longest(header, cells, fillvalue="")
        if any(cell and not name for name, cell in pairs):  # the first may be pandas' number of the row
            problem = f"line {line} has too many cells for the columns {header}"
            remedy = "separate labels by ';', and quote cells that hold the delimiter"
            raise SemplesError(path, problem, "a column for every cell", remedy)
        result.append((line, dict([first, *pairs])))
    return result


def _read_text(path: Path, needed: str) -> list[tuple[int, list[str]]]:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: {error}") from error
    if "\0" in text:
        raise ValueError("a NUL character")
    text = re.sub(r"\Asep=.(?=[\r\n])", "", text)  # a line for Excel alone
    header = next((line for line in text.splitlines() if line.strip(",;\t ")), "")
    cells = {mark: next(csv.reader([header], delimiter=mark), []) for mark in ",;\t|"}
    delimiters = [name for name, names in cells.items() if needed in (cell.strip().lower() for cell in names)]
    lines, delimiter = io.StringIO(text, newline=""), (delimiters or [","])[0]
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t")
    return [(reader.line_num, cells) for cells in reader]


def _read_parquet(path: Path) -> list[tuple[int, list[str]]]:
    from pyarrow import parquet

    table = parquet.read_table(path)
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    cells = [[_as_text(value) for value in row] for row in rows]
    return list(enumerate([table.column_names, *cells], start=1))


def _as_text(value: object) -> str:
    """Return a value of Parquet as the text of a cell; whole numbers lose their point, which pandas adds to gaps."""
    if value is None or value != value:
        return ""
    if isinstance(value, list):
        return json.dumps(value)
    if isinstance(value, bytes | dict):
        raise ValueError(f"a column of {type(value).__name__}, where text is needed")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def split_labels(cell: str, separator: str) -> list[str] | None:
    """Return the labels of a cell, None if it cannot be read: a list of Python, JSON or numpy, or separated text."""
    if not LIST.fullmatch(cell):
        return cell.split(separator.strip() or None)
    try:
        values = json.loads(cell)
    except ValueError:
        body = cell[1:-1]
        values = [single or double for single, double in QUOTED.findall(body)]
        if not values:
            values = body.split("," if "," in body else None)
        elif QUOTED.sub("", body).strip(", \n"):
            return None
    wrong = any(isinstance(value, list | dict) or ";" in str(value) for value in values)
    wrong |= len(values) > 1 and {"0", "1"}.issuperset(map(str, values))  # a place per class, of unknown order
    return None if wrong else [str(value) for value in values if value is not None]
