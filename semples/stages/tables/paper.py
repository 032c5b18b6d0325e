"""One of the paper's tables: a row a variant, a column a measure, beside them what is published."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import BaseModel

from semples.config.published import results
from semples.files import atomic_path
from semples.stages.tables.evaluations import measures, numbers, of, packages_of, percent, seeds_note, spread
from semples.stages.tables.formats import write

TEST = "test"  # VOC's, which only its server can judge
NUMBERS = {"cams", "crf", "segment", TEST}  # keys of published numbers; a method without any has an empty row
EMPTY = "An empty cell was not measured, or the published number is not known."


class Line(NamedTuple):
    """A row: its variant, its label, the swept setting with its value, and the published method that it is."""

    variant: str
    label: str
    setting: str = ""
    value: Any = None
    method: str = ""


class Place(NamedTuple):
    """A column: what is measured on which split, and the key of its published numbers; none for some."""

    measure: str
    split: str
    key: str


class Spec(BaseModel):
    """What a table is, as the workflow tells it."""

    name: str
    title: str
    rows: list[Line]
    source: str
    """Importer of the data set, by which published numbers are found."""
    published: bool = False
    note: str = ""


def run(spec: Spec, rows: Iterable[tuple[str, int, Path]], out: Path) -> None:
    """Write `out`/<name>.csv, .md, .tex and .html from `rows`, (variant, seed, evaluation JSON).

    The CSV has a line a cell: mIoU in percent, mean, standard deviation and 95 % interval over seeds (Student's t), the
    mean 95 % interval over images where the evaluations have one, and the published number with its source.
    """
    found = numbers(rows)
    known = {method["method"]: method for method in results(spec.source)}
    cells = _cells(spec, found, known)
    shown = _shown(spec, found, known)
    legend = _legend(spec, found, known)
    with atomic_path(out / f"{spec.name}.csv") as partial:
        cells.to_csv(partial, index=False, float_format="%.4g")
    write(shown, out, spec.name, spec.title, legend)


def _places(found: pd.DataFrame) -> list[Place]:
    """The measures of the numbers; a map's published number is the one at the best threshold."""
    first = found.drop_duplicates(["measure", "split"])
    keys = ["" if row.kind == "cams" and row.policy != "oracle" else row.kind for row in first.itertuples()]
    return [Place(*place, key) for place, key in zip(measures(found), keys, strict=True)]


def _cells(spec: Spec, found: pd.DataFrame, known: dict[str, dict]) -> pd.DataFrame:
    lines = []
    for row in spec.rows:
        method = known.get(row.method, {})
        for place in _places(found):
            here = of(found, row.variant, place.measure, place.split)
            if here.empty:
                continue
            mean, deviation, low, high = spread(100 * here["miou"])
            lines.append(
                {
                    "row": row.label,
                    "variant": row.variant,
                    "setting": row.setting,
                    "value": row.value,
                    "measure": place.measure,
                    "split": place.split,
                    "images": here["images"].iloc[0],
                    "policy": here["policy"].iloc[0],
                    "threshold": here["threshold"].mean(),
                    "seeds": " ".join(map(str, here["seed"])),
                    "mean": mean,
                    "sd": deviation,
                    "ci_low": low,
                    "ci_high": high,
                    "images_low": 100 * here["low"].mean(),
                    "images_high": 100 * here["high"].mean(),
                    "boundary_iou": 100 * here["boundary_iou"].mean(),
                    "published": method.get(place.key),
                    "source": method.get("source", ""),
                }
            )
    return pd.DataFrame(lines)


def _shown(spec: Spec, found: pd.DataFrame, known: dict[str, dict]) -> pd.DataFrame:
    """The table as text; published numbers have columns of their own, and other methods rows of their own."""
    places, beside = _places(found), spec.published and bool(known)

    def line(label: str, variant: str, method: dict) -> dict[str, str]:
        cells = {"": label}
        for place in places:
            title = f"{place.measure}, {place.split}"
            cells[title] = _cell(of(found, variant, place.measure, place.split))
            if place.key and beside:
                cells[f"{title}, published"] = _number(method.get(place.key))
            if place.key == "segment" and beside and any(TEST in other for other in known.values()):
                cells[f"{place.measure}, {TEST}, published"] = _number(method.get(TEST))
        return cells

    rows = [line(row.label, row.variant, known.get(row.method, {})) for row in spec.rows]
    if beside:
        here = {row.method for row in spec.rows}
        others = [method for name, method in known.items() if name not in here]
        shown = [m for m in others if any(place.key in m for place in places) or not NUMBERS & m.keys()]
        rows += [line(f"{method['method']} [{method['source']}]", "", method) for method in shown]
    return pd.DataFrame(rows)


def _cell(here: pd.DataFrame) -> str:
    """Mean and standard deviation over seeds and, behind them, the 95 % interval."""
    text = percent(here["miou"])
    _, _, low, high = spread(100 * here["miou"])
    if len(here) == 1:
        low, high = 100 * here["low"].mean(), 100 * here["high"].mean()
    return text if pd.isna(low) else f"{text} [{low:.1f}, {high:.1f}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _legend(spec: Spec, found: pd.DataFrame, known: dict[str, dict]) -> str:
    if found.empty:
        return f"Nothing is measured: no image has a true mask to be judged by.\n{spec.note}\n"
    several = found["seed"].nunique() > 1
    between = "over seeds (Student's t)" if several else "over images (bootstrap), where the evaluation has it"
    images = ", ".join(f"{split} {count}" for split, count in found.groupby("split")["images"].max().items())
    lines = [
        f"mIoU in percent over background and all classes; {seeds_note(found)}; in brackets the 95 % interval"
        f" {between}; images judged: {images}.",
        spec.note,
        _published_note(spec, known),
        f"{packages_of(found)}.",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _published_note(spec: Spec, known: dict[str, dict]) -> str:
    if not known:
        return "Published numbers: there are none for this data set."
    if not spec.published:
        return "Published numbers: the paper's table could not be read, so none stand here."
    used = [known[row.method] for row in spec.rows if row.method]
    sources = "; ".join(f"{method['method']}: {method['source']}" for method in used)
    return (
        f"Published numbers are of whole VOC 2012 or COCO 2014, maps at the best threshold on true masks; a source in"
        f" brackets is a repository{f', in the rows: {sources}' if sources else ''}. {EMPTY}"
    )
