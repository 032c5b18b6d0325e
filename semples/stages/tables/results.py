"""The table of all variants and seeds."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from semples.files import write_text
from semples.stages.tables import evaluations
from semples.stages.tables.formats import html, markdown


def run(rows: Iterable[tuple[str, int, Path]], note: str, out: Path) -> None:
    """Write results.csv and classes.csv, a row per number, and results.md and results.html into the folder `out`.

    Args:
        rows: (variant, seed, evaluation JSON); none where no image has ground truth.
        note: Text below the table, about the data and settings that it holds for.
    """
    frame = evaluations.read_evaluations(rows)
    lines = [
        {"variant": row.variant, "seed": row.seed, "measure": row.measure, "class": name, **values}
        for row in frame.itertuples()
        for name, values in row.classes.items()
    ]
    classes = pd.DataFrame(lines, columns=None if lines else ["variant", "seed", "measure", "class"])
    write_text(out / "results.csv", frame.drop(columns="classes").to_csv(index=False))
    write_text(out / "classes.csv", classes.to_csv(index=False))
    if frame.empty:
        legend = f"{evaluations.NOTHING}\n{note}\n"
    else:
        legend = f"{evaluations.summary_note(frame)}.\n{note}\n{evaluations.packages_note(frame)}\n"
    summary = _summary(frame)
    page = legend if frame.empty else f"{markdown(summary)}\n{legend}"
    write_text(out / "results.md", page)
    write_text(out / "results.html", html(summary, "Results", legend))
    print(page)


def _summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row per variant and a column per measure: mIoU in percent, mean and standard deviation over seeds."""
    columns = {f"{measure}, {split}": (measure, split) for measure, split in evaluations.measures(frame)}
    rows = [
        [name, *(evaluations.percent(evaluations.select(frame, name, *column)["miou"]) for column in columns.values())]
        for name in frame["variant"].drop_duplicates()
    ]
    return pd.DataFrame(rows, columns=["variant", *columns])
