"""The numbers of all variants and seeds."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from semples.files import atomic_path, write_text
from semples.stages.tables.evaluations import measures, numbers, of, packages_of, percent, seeds_note
from semples.stages.tables.formats import html, markdown


def run(rows: Iterable[tuple[str, int, Path]], note: str, out: Path) -> None:
    """Write into the folder `out`: results.csv and classes.csv, a number a line; results.md and results.html.

    `rows` are (variant, seed, evaluation JSON), none where nothing has a true mask; `note` says what they hold for.
    """
    found = numbers(rows)
    summary, legend = _summary(found), _legend(found, note)
    _write_csv(found.drop(columns="classes"), out / "results.csv")
    _write_csv(_classes(found), out / "classes.csv")
    write_text(out / "results.md", legend if found.empty else f"{markdown(summary)}\n{legend}")
    write_text(out / "results.html", html(summary, "Results", legend))
    print((out / "results.md").read_text(encoding="utf-8"))


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as partial:
        frame.to_csv(partial, index=False)


def _classes(found: pd.DataFrame) -> pd.DataFrame:
    """The numbers of every class, a line each."""
    lines = [
        {"variant": row.variant, "seed": row.seed, "measure": row.measure, "class": name, **values}
        for row in found.itertuples()
        for name, values in row.classes.items()
    ]
    return pd.DataFrame(lines) if lines else pd.DataFrame(columns=["variant", "seed", "measure", "class"])


def _summary(found: pd.DataFrame) -> pd.DataFrame:
    """A row a variant, a column a measure: mIoU in percent, mean and standard deviation over seeds."""
    shown = measures(found)
    rows = [
        {"variant": name}
        | {f"{measure}, {split}": percent(of(found, name, measure, split)["miou"]) for measure, split in shown}
        for name in found["variant"].drop_duplicates()
    ]
    return pd.DataFrame(rows, columns=["variant", *(f"{measure}, {split}" for measure, split in shown)])


def _legend(found: pd.DataFrame, note: str) -> str:
    """What every number of the table carries."""
    if found.empty:
        return f"Nothing is measured: no image has a true mask to be judged by.\n{note}\n"
    return f"mIoU in percent over background and all classes; {seeds_note(found)}.\n{note}\n{packages_of(found)}.\n"
