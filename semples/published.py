"""The published settings beside those of a configuration."""

from pathlib import Path

import yaml

from semples.errors import SemplesError
from semples.settings import Settings

FILE = Path(__file__).parent / "published.yaml"
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
        found = values
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        reason = "" if found == published else known["reasons"].get(key, {}).get(str(found), UNEXPLAINED)
        rows.append((key, str(published), str(found), reason))
    return rows


def table(settings: Settings) -> str:
    """The comparison as a Markdown table, its columns aligned."""
    rows = [COLUMNS, *compare(settings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"
