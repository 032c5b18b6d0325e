"""One of the paper's tables: a row per variant, a column per measure, published numbers beside them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import BaseModel

from semples.config.published import Method, results
from semples.files import write_text
from semples.stages.tables import evaluations
from semples.stages.tables.formats import write

_FURTHER = "further models"  # column of the published methods
_NONE = Method(method="none")


class Line(NamedTuple):
    """A row: its variant, its label, the swept setting with its value, and the published method that it is."""

    variant: str
    label: str
    setting: str = ""
    value: Any = None
    method: str = ""


class _Column(NamedTuple):
    """A measure on a split, and the key `of` of the published numbers beside it; empty for none."""

    measure: str
    split: str
    key: str


class Spec(BaseModel):
    """A table's rows and texts."""

    name: str
    title: str
    rows: list[Line]
    source: str
    """Importer of the data set, by which published numbers are selected."""
    published: bool = False
    note: str = ""


def run(spec: Spec, rows: Iterable[tuple[str, int, Path]], out: Path) -> None:
    """Write `out`/<name>.csv, .md, .tex and .html.

    The CSV has a row per cell: mIoU in percent, mean, standard deviation and 95 % interval over seeds (Student's t),
    the mean 95 % interval over images where the evaluations have one, and the published number of the same split with
    its source.

    Args:
        rows: (variant, seed, evaluation JSON).
    """
    frame = evaluations.read_evaluations(rows)
    first = frame.drop_duplicates(["measure", "split"])
    # the published numbers of CAMs are those at the best threshold
    keys = first["kind"].where((first["kind"] != "cams") | (first["policy"] == "oracle"), "")
    columns = [_Column(*column, key) for column, key in zip(evaluations.measures(frame), keys, strict=True)]
    methods = {method.method: method for method in results(spec.source)}
    cells = pd.DataFrame([cell for row in spec.rows for cell in _cells(row, frame, columns, methods)])
    write_text(out / f"{spec.name}.csv", cells.to_csv(index=False, float_format="%.4g"))
    write(_as_text(spec, frame, columns, methods), out, spec.name, spec.title, _legend(spec, frame, methods))


def _cells(row: Line, frame: pd.DataFrame, columns: list[_Column], methods: dict[str, Method]) -> Iterable[dict]:
    for column in columns:
        runs = evaluations.select(frame, row.variant, column.measure, column.split)
        if runs.empty:
            continue
        number = methods.get(row.method, _NONE).number(column.key, column.split)
        mean, deviation, low, high = evaluations.mean_and_interval(100 * runs["miou"])
        yield {
            **{"row": row.label, "variant": row.variant, "setting": row.setting, "value": row.value},
            **{"measure": column.measure, "split": column.split, "images": runs["images"].iloc[0]},
            **{"policy": runs["policy"].iloc[0], "threshold": runs["threshold"].mean()},
            **{
                "seeds": " ".join(map(str, runs["seed"])),
                "mean": mean,
                "sd": deviation,
                "ci_low": low,
                "ci_high": high,
            },
            **{"images_low": 100 * runs["low"].mean(), "images_high": 100 * runs["high"].mean()},
            "boundary_iou": 100 * runs["boundary_iou"].mean(),
            **{"published": number.miou if number else None, "source": number.source if number else ""},
        }


def _as_text(spec: Spec, frame: pd.DataFrame, columns: list[_Column], methods: dict[str, Method]) -> pd.DataFrame:
    """Return the table as text. Published numbers have a column per split, other methods rows of their own."""
    beside = spec.published and bool(methods)

    def line(label: str, variant: str, method: Method) -> dict[str, str]:
        cells = {"": label}
        for column in columns:
            title = f"{column.measure}, {column.split}"
            cells[title] = _cell(evaluations.select(frame, variant, column.measure, column.split))
            for split in _splits(column.key, methods) if beside else ():
                number = method.number(column.key, split)
                cells[f"{column.measure}, {split}, published"] = f"{number.miou:.1f}" if number else ""
        return cells | {_FURTHER: method.further} if beside else cells

    rows = [line(row.label, row.variant, methods.get(row.method, _NONE)) for row in spec.rows]
    if beside:
        own, keys = {row.method for row in spec.rows}, {column.key for column in columns}
        others = [method for name, method in methods.items() if name not in own]
        shown = [other for other in others if not other.numbers or keys & {number.of for number in other.numbers}]
        rows += [line(f"{method.method} [{_sources(method)}]", "", method) for method in shown]
    return pd.DataFrame(rows)


def _splits(key: str, methods: dict[str, Method]) -> list[str]:
    """Return the splits of the published numbers of `key`, each once."""
    numbers = [number for method in methods.values() for number in method.numbers]
    return list(dict.fromkeys(number.split for number in numbers if number.of == key))


def _sources(method: Method) -> str:
    return "; ".join(dict.fromkeys(number.source for number in method.numbers)) or method.note


def _cell(runs: pd.DataFrame) -> str:
    """Return mean and standard deviation over seeds, and the 95 % interval; of a single seed, that over images."""
    _, _, low, high = evaluations.mean_and_interval(100 * runs["miou"])
    if len(runs) == 1:
        low, high = 100 * runs["low"].mean(), 100 * runs["high"].mean()
    return evaluations.percent(runs["miou"]) + ("" if pd.isna(low) else f" [{low:.1f}, {high:.1f}]")


def _legend(spec: Spec, frame: pd.DataFrame, methods: dict[str, Method]) -> str:
    if frame.empty:
        return f"{evaluations.NOTHING}\n{spec.note}\n"
    several = frame["seed"].nunique() > 1
    between = "over seeds (Student's t)" if several else "over images (bootstrap), where the evaluation has it"
    images = ", ".join(f"{split} {count}" for split, count in frame.groupby("split")["images"].max().items())
    lines = [
        f"{evaluations.summary_note(frame)}; in brackets the 95 % interval {between}; images evaluated: {images}.",
        spec.note,
        _published_note(spec, methods),
        evaluations.packages_note(frame),
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _published_note(spec: Spec, methods: dict[str, Method]) -> str:
    if not methods:
        return "Published numbers: there are none for this data set."
    if not spec.published:
        return "Published numbers: the paper's table could not be read, so this table has none."
    used = [methods[row.method] for row in spec.rows if row.method]
    sources = "; ".join(f"{method.method}: {_sources(method)}" for method in used)
    return (
        f"Published numbers are of the whole split in their column, CAMs at the best threshold on the ground"
        f" truth; brackets name the source{f', in the rows: {sources}' if sources else ''}. Further models"
        f" are those beyond CLIP and weights of ImageNet classification. An empty cell was not measured, or the"
        f" published number is not known."
    )
