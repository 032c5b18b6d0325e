"""One of the paper's tables: a row per variant, a column per measure, published numbers beside them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import BaseModel

from semples.config.published import Method, results
from semples.data.csv_file import write_csv
from semples.evaluation.evaluation_file import MAPS
from semples.stages.tables import evaluations
from semples.stages.tables.formats import write

_FURTHER = "further models"  # column of the published methods
_NONE = Method(method="none")
_Column = tuple[str, str, str]  # measure, split, and the key of the published numbers beside it, "" for none


class Line(NamedTuple):
    """A row: its variant, its label, the swept setting with its value, and the published method that it is."""

    variant: str
    label: str
    setting: str = ""
    value: Any = None
    method: str = ""


class Spec(BaseModel):
    """A table's rows and texts."""

    name: str
    title: str
    rows: list[Line]
    source: str
    """Importer of the data set, by which published numbers are selected."""
    published: bool = False
    note: str = ""


def run(spec: Spec, rows: evaluations.Runs, out: Path) -> None:
    """Write `out`/<name>.csv, .md, .tex and .html.

    The CSV has a row per cell: mIoU in percent, mean, standard deviation and 95 % interval over seeds (Student's t),
    the mean 95 % interval over images where the evaluations have one, and the published number of the same split with
    its source.
    """
    frame = evaluations.read_evaluations(rows)
    first = evaluations.first_of_columns(frame)
    # the published numbers of CAMs are those at the best threshold
    keys = first["kind"].where(~first["kind"].isin(MAPS) | (first["policy"] == "oracle"), "")
    columns = list(zip(first["measure"], first["split"], keys, strict=True))
    methods = {method.method: method for method in results(spec.source)}
    cells = pd.DataFrame([cell for row in spec.rows for cell in _cells(row, frame, columns, methods)])
    write_csv(out / f"{spec.name}.csv", cells, float_format="%.4g")
    write(_as_text(spec, frame, columns, methods), out, spec.name, spec.title, _legend(spec, frame, methods))


def _cells(row: Line, frame: pd.DataFrame, columns: list[_Column], methods: dict[str, Method]) -> Iterator[dict]:
    for measure, split, key in columns:
        runs = evaluations.select(frame, row.variant, measure, split)
        if runs.empty:
            continue
        number = methods.get(row.method, _NONE).number(key, split)
        mean, deviation, low, high = evaluations.mean_and_interval(100 * runs["miou"])
        yield {
            **{"row": row.label, "variant": row.variant, "setting": row.setting, "value": row.value},
            **{"measure": measure, "split": split, "images": runs["images"].iloc[0]},
            **{"policy": runs["policy"].iloc[0], "threshold": runs["threshold"].mean()},
            **{"seeds": " ".join(map(str, runs["seed"])), "mean": mean, "sd": deviation},
            **{"ci_low": low, "ci_high": high, "images_low": 100 * runs["low"].mean()},
            **{"images_high": 100 * runs["high"].mean(), "boundary_iou": 100 * runs["boundary_iou"].mean()},
            **{"published": number.miou if number else None, "source": number.source if number else ""},
        }


def _as_text(spec: Spec, frame: pd.DataFrame, columns: list[_Column], methods: dict[str, Method]) -> pd.DataFrame:
    """Return the table as text. Published numbers have a column per split, other methods rows of their own."""
    beside = spec.published and bool(methods)

    def line(label: str, variant: str, method: Method) -> dict[str, str]:
        cells = {"": label}
        for measure, split, key in columns:
            cells[f"{measure}, {split}"] = _cell(evaluations.select(frame, variant, measure, split))
            others = [number.split for other in methods.values() for number in other.numbers if number.of == key]
            for other in dict.fromkeys(others if beside else ()):
                number = method.number(key, other)
                cells[f"{measure}, {other}, published"] = f"{number.miou:.1f}" if number else ""
        return cells | {_FURTHER: method.further} if beside else cells

    rows = [line(row.label, row.variant, methods.get(row.method, _NONE)) for row in spec.rows]
    if beside:
        own, keys = {row.method for row in spec.rows}, {key for *_, key in columns}
        for name, method in methods.items():
            if name not in own and (not method.numbers or keys & {number.of for number in method.numbers}):
                rows.append(line(f"{name} [{_sources(method)}]", "", method))
    return pd.DataFrame(rows)


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
    note = f"{evaluations.summary_note(frame)}; in brackets the 95 % interval {between}; images evaluated: {images}."
    lines = (note, spec.note, _published_note(spec, methods), evaluations.packages_note(frame))
    return "\n".join(filter(None, lines)) + "\n"


def _published_note(spec: Spec, methods: dict[str, Method]) -> str:
    if not methods:
        return "Published numbers: there are none for this data set."
    if not spec.published:
        return "Published numbers: the paper's table could not be read, so this table has none."
    sources = "; ".join(f"{row.method}: {_sources(methods[row.method])}" for row in spec.rows if row.method)
    return (
        "Published numbers are of the whole split in their column, CAMs at the best threshold on the ground truth;"
        f" brackets name the source{f', in the rows: {sources}' if sources else ''}. Further models are those beyond"
        " CLIP and weights of ImageNet classification. An empty cell was not measured, or the published number is not"
        " known."
    )
