"""The table of all variants and seeds, and that of the words nearest to the prompts."""

from pathlib import Path

import pandas as pd

from semples.data.csv_file import WORDS, read_csv, write_csv
from semples.files import write_text
from semples.stages.tables import evaluations
from semples.stages.tables.evaluations import Runs
from semples.stages.tables.formats import html, markdown


def run(rows: Runs, note: str, out: Path) -> None:
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
    write_csv(out / "results.csv", frame.drop(columns="classes"))
    write_csv(out / "classes.csv", classes)
    legend, summary, page = f"{evaluations.NOTHING}\n{note}\n", _summary(frame), ""
    if not frame.empty:
        legend = f"{evaluations.summary_note(frame)}.\n{note}\n{evaluations.packages_note(frame)}\n"
        page = f"{markdown(summary)}\n"
    write_text(out / "results.md", page + legend)
    write_text(out / "results.html", html(summary, "Results", legend))
    print(page + legend)


def _summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row per variant and a column per measure: mIoU in percent, mean and standard deviation over seeds."""
    columns = list(evaluations.first_of_columns(frame)[["measure", "split"]].itertuples(index=False, name=None))
    rows = [
        [name, *(evaluations.percent(evaluations.select(frame, name, *column)["miou"]) for column in columns)]
        for name in frame["variant"].drop_duplicates()
    ]
    return pd.DataFrame(rows, columns=["variant", *(f"{measure}, {split}" for measure, split in columns)])


def run_words(words: Runs, out: Path) -> None:
    """Write `out`/words.md and .html: the three nearest and the three most distinctive words of every prompt.

    Args:
        words: (variant, seed, words.csv of `semples cpl`).
    """
    rows = [
        [variant, seed, name, _three(group, "nearest", "cosine"), _three(group, "distinctive", "lift")]
        for variant, seed, path in words
        for name, group in read_csv(path, "cpl", *WORDS).groupby("class", sort=False)
    ]
    columns = ["variant", "seed", "class", "nearest words (cosine)", "distinctive words (lift)"]
    frame = pd.DataFrame(rows, columns=columns)
    write_text(out / "words.md", markdown(frame))
    write_text(out / "words.html", html(frame, "Words", ""))


def _three(group: pd.DataFrame, title: str, by: str) -> str:
    first = group[group["list"] == title].head(3)
    return ", ".join(f"{word} ({value:.2f})" for word, value in zip(first["word"], first[by], strict=True))
