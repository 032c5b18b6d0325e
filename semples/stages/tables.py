"""tables: the evaluations of all variants and seeds as CSV and Markdown."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from semples.files import atomic_path, read_json, write_text

COLUMNS = ["variant", "seed", "split", "images", "packages", "measure", "threshold", "miou", "classes"]
TITLES = {"crf": "CAM + CRF", "segment": "segmentation"}


def run(rows: Iterable[tuple[str, int, Path]], words: Iterable[tuple[str, int, Path]], note: str, out: Path) -> None:
    """Write the folder `out`: results.csv and classes.csv, a number a line; results.md, results.html, words.md.

    `rows` are (variant, seed, evaluation JSON), none where nothing has a true mask; `words` (variant, seed, words.csv);
    `note` says what they hold for.
    """
    numbers = pd.DataFrame([line for row in rows for line in _numbers(*row)], columns=COLUMNS)
    classes = numbers.pop("classes")
    with atomic_path(out) as folder:
        folder.mkdir(parents=True)
        numbers.to_csv(folder / "results.csv", index=False)
        per_class = [
            {"variant": row.variant, "seed": row.seed, "measure": row.measure, "class": name, **values}
            for row, found in zip(numbers.itertuples(), classes, strict=True)
            for name, values in found.items()
        ]
        frame = pd.DataFrame(per_class) if per_class else pd.DataFrame(columns=[*COLUMNS[:2], "measure", "class"])
        frame.to_csv(folder / "classes.csv", index=False)
        summary, legend = _summary(numbers), _legend(numbers, note)
        write_text(folder / "results.md", legend if numbers.empty else f"{markdown(summary)}\n{legend}")
        write_text(folder / "results.html", _html(summary, legend))
        write_text(folder / "words.md", _words(words))
    print((out / "results.md").read_text(encoding="utf-8"))


def _numbers(variant: str, seed: int, path: Path) -> list[dict]:
    """The numbers of one evaluation: one a threshold policy for CAMs, one for masks."""
    found = read_json(path, "evaluate")
    base = {
        "variant": variant,
        "seed": seed,
        "split": found["split"],
        "images": found["images"],
        "packages": found["packages"],
    }
    if found["kind"] != "cams":
        return [{**base, "measure": found["kind"], "miou": found["miou"], "classes": found["classes"]}]
    return [
        {
            **base,
            "measure": f"CAM, {policy} threshold",
            "threshold": at["threshold"],
            "miou": at["miou"],
            "classes": at["classes"],
        }
        for policy, at in found["policies"].items()
    ]


def _summary(numbers: pd.DataFrame) -> pd.DataFrame:
    """A row a variant, a column a measure: mIoU in percent, mean and standard deviation over seeds."""
    measures = numbers[["measure", "split"]].drop_duplicates()
    rows: list[dict] = []
    for name, group in numbers.groupby("variant", sort=False):
        row = {"variant": name}
        for measure, split in measures.itertuples(index=False):
            values = group.loc[(group["measure"] == measure) & (group["split"] == split), "miou"]
            row[f"{TITLES.get(measure, measure)}, {split}"] = _cell(values)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["variant"])


def _legend(numbers: pd.DataFrame, note: str) -> str:
    """What every number of the table carries."""
    if numbers.empty:
        return f"Nothing is measured: no image has a true mask to be judged by.\n{note}\n"
    packages = sorted({package for cell in numbers["packages"] for package in cell.split(", ")})
    seeds = ", ".join(map(str, sorted(numbers["seed"].unique())))
    spread = ", mean ± standard deviation" if numbers["seed"].nunique() > 1 else ""
    return f"mIoU in percent over background and all classes; seeds {seeds}{spread}.\n{note}\n{', '.join(packages)}.\n"


def markdown(frame: pd.DataFrame) -> str:
    """The frame as a Markdown table, a line a row, without its index."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(object).values.tolist()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def _html(frame: pd.DataFrame, legend: str) -> str:
    style = "body{font:15px sans-serif;margin:2em}td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:left}"
    text = "".join(f"<p>{escape(line)}</p>" for line in legend.splitlines())
    table = frame.to_html(index=False, border=0)
    return f'<!doctype html><meta charset="utf-8"><title>Results</title><style>{style}</style>{table}{text}\n'


def _cell(values: pd.Series) -> str:
    if values.empty:
        return ""
    mean = f"{100 * values.mean():.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * np.std(values, ddof=1):.1f}"


def _words(words: Iterable[tuple[str, int, Path]]) -> str:
    """The three nearest and the three most distinctive words of every prompt, by variant and seed."""
    rows = []
    for variant, seed, path in words:
        for name, group in pd.read_csv(path).groupby("class", sort=False):
            nearest, distinctive = (
                ", ".join(
                    f"{row.word} ({getattr(row, by):.2f})" for row in group[group["list"] == title].head(3).itertuples()
                )
                for title, by in (("nearest", "cosine"), ("distinctive", "lift"))
            )
            rows.append([variant, seed, name, nearest, distinctive])
    columns = ["variant", "seed", "class", "nearest words (cosine)", "distinctive words (lift)"]
    return markdown(pd.DataFrame(rows, columns=columns))
