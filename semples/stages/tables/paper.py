"""One of the paper's tables: a row a variant, a column a measure, beside them what is published."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import BaseModel

from semples.config.published import Method, results
from semples.files import atomic_path
from semples.stages.tables.evaluations import measures, numbers, of, packages_of, percent, seeds_note, spread
from semples.stages.tables.formats import write

FURTHER = "further models"  # column of the published methods
EMPTY = "An empty cell was not measured, or the published number is not known."
NONE = Method(method="none")


class Line(NamedTuple):
    """A row: its variant, its label, the swept setting with its value, and the published method that it is."""

    variant: str
    label: str
    setting: str = ""
    value: Any = None
    method: str = ""


class Place(NamedTuple):
    """A column: what is measured on which split, and what published numbers beside it are `of`; empty for none."""

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
    mean 95 % interval over images where the evaluations have one, and the published number of the same split with its
    source.
    """
    found = numbers(rows)
    known = {method.method: method for method in results(spec.source)}
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


def _cells(spec: Spec, found: pd.DataFrame, known: dict[str, Method]) -> pd.DataFrame:
    lines = []
    for row in spec.rows:
        method = known.get(row.method, NONE)
        for place in _places(found):
            here = of(found, row.variant, place.measure, place.split)
            if here.empty:
                continue
            number = method.number(place.key, place.split)
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
                    "published": number.miou if number else None,
                    "source": number.source if number else "",
                }
            )
    return pd.DataFrame(lines)


def _shown(spec: Spec, found: pd.DataFrame, known: dict[str, Method]) -> pd.DataFrame:
    """Return the table as text. Published numbers have a column for each split, other methods rows of their own."""
    places, beside = _places(found), spec.published and bool(known)

    def line(label: str, variant: str, method: Method) -> dict[str, str]:
        cells = {"": label}
        for place in places:
            cells[f"{place.measure}, {place.split}"] = _cell(of(found, variant, place.measure, place.split))
            for split in _splits(place.key, known) if beside else ():
                number = method.number(place.key, split)
                cells[f"{place.measure}, {split}, published"] = f"{number.miou:.1f}" if number else ""
        return cells | {FURTHER: method.further} if beside else cells

    rows = [line(row.label, row.variant, known.get(row.method, NONE)) for row in spec.rows]
    if beside:
        here, keys = {row.method for row in spec.rows}, {place.key for place in places}
        others = [method for name, method in known.items() if name not in here]
        shown = [other for other in others if not other.numbers or keys & {number.of for number in other.numbers}]
        rows += [line(f"{method.method} [{_sources(method)}]", "", method) for method in shown]
    return pd.DataFrame(rows)


def _splits(key: str, known: dict[str, Method]) -> list[str]:
    """Return the splits of the published numbers of `key`, each once."""
    return list(dict.fromkeys(number.split for other in known.values() for number in other.numbers if number.of == key))


def _sources(method: Method) -> str:
    return "; ".join(dict.fromkeys(number.source for number in method.numbers)) or method.note


def _cell(here: pd.DataFrame) -> str:
    """Mean and standard deviation over seeds and, behind them, the 95 % interval."""
    text = percent(here["miou"])
    _, _, low, high = spread(100 * here["miou"])
    if len(here) == 1:
        low, high = 100 * here["low"].mean(), 100 * here["high"].mean()
    return text if pd.isna(low) else f"{text} [{low:.1f}, {high:.1f}]"


def _legend(spec: Spec, found: pd.DataFrame, known: dict[str, Method]) -> str:
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


def _published_note(spec: Spec, known: dict[str, Method]) -> str:
    if not known:
        return "Published numbers: there are none for this data set."
    if not spec.published:
        return "Published numbers: the paper's table could not be read, so none stand here."
    used = [known[row.method] for row in spec.rows if row.method]
    sources = "; ".join(f"{method.method}: {_sources(method)}" for method in used)
    return (
        f"Published numbers are of the whole split in their column, CAMs at the best threshold on the ground"
        f" truth; brackets name the source{f', in the rows: {sources}' if sources else ''}. Further models"
        f" are those beyond CLIP and weights of ImageNet classification. {EMPTY}"
    )
