"""The published settings beside those of a configuration, and the published numbers for the tables."""

from pathlib import Path
from typing import Any

import yaml

from semples.config.settings import Settings
from semples.errors import SemplesError

FILE = Path(__file__).parent / "published.yaml"
RESULTS = FILE.with_name("published_results.yaml")
DATA_SETS = {"voc": "voc12", "coco": "coco14"}
COLUMNS = ("setting", "published", "here", "why it differs")
UNEXPLAINED = "UNEXPLAINED"


def compare(settings: Settings) -> list[tuple[str, str, str, str]]:
    """A row (setting, published value, value here, reason) for every published setting; no reason where they are equal.

    The published values are those of the data set in `settings`.
    """
    known = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    if settings.data.source not in DATA_SETS:
        raise SemplesError(
            f"data.source: {settings.data.source}",
            "no published settings",
            f"one of {list(DATA_SETS)}",
            "name the preset voc12 or coco14",
        )
    values = settings.model_dump(mode="json")
    rows = []
    for key, published in known[DATA_SETS[settings.data.source]].items():
        found = _at(values, key)
        reason = "" if found == published else known["reasons"].get(key, {}).get(str(found), UNEXPLAINED)
        rows.append((key, str(published), str(found), reason))
    return rows


def results(source: str) -> list[dict]:
    """Published mIoU in percent of the methods on the data set of the importer `source`; none for others."""
    known = yaml.safe_load(RESULTS.read_text(encoding="utf-8"))
    return known.get(DATA_SETS.get(source, ""), [])


def method_of(settings: Settings) -> str:
    """The published method that a variant of these settings is; empty for none."""
    values = settings.model_dump(mode="json")
    for found in results(settings.data.source):
        wanted = found.get("settings")
        if wanted and all(_at(values, key) == value for key, value in wanted.items()):
            return found["method"]
    return ""


def _at(values: dict, key: str) -> Any:
    """The value of the setting `key`, written `section.key`; None where there is none."""
    found: Any = values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def table(settings: Settings) -> str:
    """The comparison as a Markdown table, its columns aligned."""
    rows = [COLUMNS, *compare(settings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"
