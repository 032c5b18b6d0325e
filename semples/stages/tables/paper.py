"""One of the paper's tables: a row a variant, a column a measure, beside them what is published."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import BaseModel

from semples.files import atomic_path, write_text
from semples.published import results
from semples.stages.tables.evaluations import measures, numbers, of, packages_of, percent, seeds_note, spread
from semples.tabular import html, latex, markdown

EMPTY = "An empty cell was not measured, or the published number is not known."


class Line(NamedTuple):
    """A row: its variant, its label, the swept setting with its value, and the published method that it is."""

    variant: str
    label: str
    setting: str = ""
    value: Any = None
    method: str = ""


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
    write_text(out / f"{spec.name}.md", f"## {spec.title}\n\n{markdown(shown)}\n{legend}")
    write_text(out / f"{spec.name}.tex", latex(shown, f"{spec.title}. {legend}".replace("\n", " "), f"tab:{spec.name}"))
    write_text(out / f"{spec.name}.html", html(shown, spec.title, f"{spec.title}\n{legend}"))
    print((out / f"{spec.name}.md").read_text(encoding="utf-8"))


def _cells(spec: Spec, found: pd.DataFrame, known: dict[str, dict]) -> pd.DataFrame:
    lines = []
    for row in spec.rows:
        for measure, split in measures(found):
            here = of(found, row.variant, measure, split)
            if here.empty:
                continue
            first = here.iloc[0]
            mean, deviation, low, high = spread(100 * here["miou"])
            method = known.get(row.method, {})
            published = method.get(_published_key(first["kind"], first["policy"]))
            lines.append(
                {
                    **{"row": row.label, "variant": row.variant, "setting": row.setting, "value": row.value},
                    **{"measure": measure, "split": split, "images": first["images"], "policy": first["policy"]},
                    "threshold": here["threshold"].mean(),
                    **{"seeds": " ".join(map(str, here["seed"])), "mean": mean, "sd": deviation},
                    **{"ci_low": low, "ci_high": high},
                    **{"images_low": 100 * here["low"].mean(), "images_high": 100 * here["high"].mean()},
                    **{"boundary_iou": 100 * here["boundary_iou"].mean(), "ignored": here["ignored"].mean()},
                    **{"published": published, "source": method.get("source", "")},
                }
            )
    return pd.DataFrame(lines)


def _published_key(kind: str, policy: Any) -> str:
    """Where a published number of this kind stands; maps are published at the best threshold."""
    return "" if kind == "cams" and policy != "oracle" else kind


def _shown(spec: Spec, found: pd.DataFrame, known: dict[str, dict]) -> pd.DataFrame:
    """The table as text; published numbers have columns of their own, and other methods rows of their own."""
    kinds = {(measure, split): _kind(found, measure, split) for measure, split in measures(found)}
    titles = {place: f"{place[0]}, {place[1]}" for place in kinds}
    rows = []
    for row in spec.rows:
        line = {"": row.label}
        for place, title in titles.items():
            line[title] = _cell(of(found, row.variant, *place))
            if kinds[place] and spec.published and known:
                line[f"{title}, published"] = _number(known.get(row.method, {}).get(kinds[place]))
        rows.append(line)
    used = {row.method for row in spec.rows}
    if spec.published and rows:
        keys = [kinds[place] for place in titles if kinds[place]]
        for method in known.values():
            if method["method"] not in used and any(method.get(key) for key in keys):
                line = dict.fromkeys(rows[0], "") | {"": f"{method['method']} [{method['source']}]"}
                for place, title in titles.items():
                    if kinds[place]:
                        line[f"{title}, published"] = _number(method.get(kinds[place]))
                rows.append(line)
    return pd.DataFrame(rows)


def _kind(found: pd.DataFrame, measure: str, split: str) -> str:
    first = found[(found["measure"] == measure) & (found["split"] == split)].iloc[0]
    return _published_key(first["kind"], first["policy"])


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
