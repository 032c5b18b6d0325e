"""CSV files with names that users chose: no spreadsheet computes their cells, and reading gives what was written."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from semples.errors import SemplesError
from semples.files import atomic_path, require

WORDS = (("class", "list", "word"), ("cosine", "lift"))  # texts and numbers of words.csv
_FORMULA = re.compile(r"(^|;)(?='*[=+\-@\t\r])")
_QUOTED = re.compile(r"(^|;)'(?='*[=+\-@\t\r])")


def write_csv(path: Path, frame: pd.DataFrame, float_format: str | None = None) -> None:
    """Write a frame without its index, whole or not at all.

    A spreadsheet takes a text that begins with = + - @ or a tab for a formula, also behind a ';'. Such a text gets a
    quote in front, as spreadsheets write it themselves.
    """
    with atomic_path(path) as partial:
        _replace(frame, _FORMULA, r"\1'").to_csv(partial, index=False, float_format=float_format)


def read_csv(
    path: Path, made_by: str, texts: Iterable[str], numbers: Iterable[str] = (), **options: Any
) -> pd.DataFrame:
    """Return the rows of a CSV that the command `made_by` writes; an empty cell is NaN, every other text is itself.

    Args:
        texts, numbers: Columns that it must have; it may have others.
        options: Of pandas.read_csv.
    """
    columns = dict.fromkeys(texts, str) | dict.fromkeys(numbers, float)
    options = {"dtype": columns, "keep_default_na": False, "na_values": [""]} | options
    try:
        frame = pd.read_csv(require(path, made_by), **options)
        if not isinstance(frame.index, pd.RangeIndex):
            raise ValueError("a row with more cells than there are columns")
    except (ValueError, OSError) as error:
        expected, remedy = f"columns {list(columns)}", f"run `semples {made_by}`"
        raise SemplesError(path, f"unreadable: {error}", expected, remedy) from None
    if missing := columns.keys() - set(frame.columns):
        problem = f"columns {list(frame.columns)}"
        raise SemplesError(path, problem, f"also {sorted(missing)}", f"name a file that `semples {made_by}` wrote")
    return unquoted(frame)


def unquoted(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the texts of a frame as they were before `write_csv` put a quote in front."""
    return _replace(frame, _QUOTED, r"\1")


def _replace(frame: pd.DataFrame, pattern: re.Pattern, by: str) -> pd.DataFrame:
    texts = frame.select_dtypes(exclude="number")
    return frame.assign(**texts.map(lambda cell: pattern.sub(by, cell) if isinstance(cell, str) else cell))
