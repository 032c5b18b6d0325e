"""Compare a configuration with the published settings, and read the published numbers for the tables."""

from functools import cache, reduce
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from semples.config.load import check
from semples.config.parse import read_yaml
from semples.config.settings import Settings
from semples.config.settings.types import Section
from semples.errors import SemplesError

FILE, RESULTS = (files("semples.config") / name for name in ("published.yaml", "published_results.yaml"))
DATA_SETS = {"voc": "voc12", "coco": "coco14"}
COLUMNS = ("setting", "published", "here", "why it differs")
UNEXPLAINED = "UNEXPLAINED"
Name = Annotated[str, Field(min_length=1)]


class Number(Section):
    """A published mIoU in percent: of CAMs, pseudo masks or segmentation, on `split`, as read in `source`."""

    of: Literal["cams", "crf", "segment"]
    split: Name
    miou: Annotated[float, Field(gt=0, lt=100)]
    source: Name


class Method(Section):
    """A published method: `further` models beyond CLIP and ImageNet's, and the `settings` of the same method here."""

    method: Name
    further: str = ""
    note: str = ""
    numbers: list[Number] = []
    settings: dict[str, Any] = {}

    def number(self, of: str, split: str) -> Number | None:
        """Return the number of `of` (cams, crf, segment) on `split`, None where none is known."""
        return next((number for number in self.numbers if (number.of, number.split) == (of, split)), None)


class _Results(Section):
    voc12: list[Method]
    coco14: list[Method]


@cache
def results(source: str, path: Path | Traversable = RESULTS) -> list[Method]:
    """Return the published methods on the data set of the importer `source`, none for others."""
    return getattr(check(_Results, read_yaml(path), str(path)), DATA_SETS.get(source, ""), [])


def method_of(settings: Settings) -> str:
    """Return the name of the published method that a variant with these settings is; empty for none."""
    values = settings.model_dump(mode="json")
    for method in results(settings.data.source):
        if method.settings and all(_at(values, key) == value for key, value in method.settings.items()):
            return method.method
    return ""


def compare(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Return a row of COLUMNS for every published setting of the data set; an error if the paper has no such data set.

    The reason is empty where the values are equal, and UNEXPLAINED for a difference that published.yaml does not list.
    """
    if (source := settings.data.source) not in DATA_SETS:
        remedy = "name the preset voc12 or coco14"
        raise SemplesError(f"data.source: {source}", "no published settings", f"one of {list(DATA_SETS)}", remedy)
    published, values, rows = read_yaml(FILE), settings.model_dump(mode="json"), []
    for key, expected in published[DATA_SETS[source]].items():
        value = _at(values, key)
        reason = "" if value == expected else published["reasons"].get(key, {}).get(str(value), UNEXPLAINED)
        rows.append((key, str(expected), str(value), reason))
    return rows


def _at(values: Any, key: str) -> Any:
    """Return the value of the setting `key`, written `section.key`; None where there is none."""
    return reduce(lambda value, part: value.get(part) if isinstance(value, dict) else None, key.split("."), values)
