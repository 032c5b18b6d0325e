"""Read evaluations of CAMs and masks into one frame, and format their mIoU."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from semples.errors import SemplesError
from semples.evaluation.evaluation_file import TITLES, Evaluation, read_evaluation
from semples.provenance import MADE_ON

Runs = Iterable[tuple[str, int, Path]]  # variant, seed, file
_NUMBERS = ("threshold", "miou", "low", "high", "boundary_iou")
_HEADER = ["variant", "seed", "split", "images", "packages", "machine", "measure", "kind", "policy"]
NOTHING = "Nothing was evaluated: no image has a ground-truth mask."


def read_evaluations(rows: Runs) -> pd.DataFrame:
    """Return a row per mIoU of every (variant, seed, evaluation JSON): one per threshold policy of CAMs, one of masks.

    `miou` and its 95 % interval over images (`low`, `high`; NaN where the evaluation has none) are in [0, 1]; `classes`
    is a dictionary of the numbers per class.
    """
    results = [(*row, read_evaluation(row[2])) for row in dict.fromkeys(rows)]
    for _, _, path, result in results:
        if result.classes != results[0][3].classes:
            problem, expected = f"the classes {', '.join(result.classes)}", f"those of {results[0][2]}"
            raise SemplesError(path, problem, expected, "name evaluations of one data set")
    lines = [line for row in results for line in _lines(*row)]
    frame = pd.DataFrame(lines, columns=[*_HEADER, *_NUMBERS, "classes"]).astype(dict.fromkeys(_NUMBERS, float))
    repeated = frame[frame.duplicated(["variant", "seed", "measure", "split"])]
    for where in repeated["variant"] + ":" + repeated["seed"].astype(str):
        raise SemplesError(where, "two evaluations of one kind and split", "one", "name one file of each")
    return frame


def _lines(variant: str, seed: int, _: Path, result: Evaluation) -> Iterator[dict]:
    header = result.model_dump(include={"split", "images", "packages", "machine", "kind"})
    for policy, values in result.policies.items():
        measure = TITLES[result.kind] + (f", {policy} threshold" if policy else "")
        row = {"variant": variant, "seed": seed, "measure": measure, "policy": policy or None}
        yield values.model_dump() | header | row | dict(zip(("low", "high"), values.interval, strict=True))


def first_of_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row of each measure and split, in the order that they have in the variant with the most measures."""
    count = frame.groupby("variant")["measure"].transform("nunique")
    return frame.loc[count.sort_values(ascending=False, kind="stable").index].drop_duplicates(["measure", "split"])


def select(frame: pd.DataFrame, variant: str, measure: str, split: str) -> pd.DataFrame:
    """Return the rows of one cell of a table, one per seed."""
    return frame[(frame["variant"] == variant) & (frame["measure"] == measure) & (frame["split"] == split)]


def mean_and_interval(values: pd.Series) -> tuple[float, float, float, float]:
    """Return mean, standard deviation and 95 % interval (Student's t); of a single value all but the mean are NaN."""
    mean, deviation = values.mean(skipna=False), values.std(skipna=False)
    reach = stdtrit(len(values) - 1, 0.975) * deviation / np.sqrt(len(values))
    return mean, deviation, mean - reach, mean + reach


def percent(values: pd.Series) -> str:
    """Return the mean in percent, with ± standard deviation where there are several values; "" without any."""
    mean, deviation, *_ = mean_and_interval(values)
    if values.isna().any():
        return "–"
    return "" if values.empty else f"{100 * mean:.1f}" + (f" ± {100 * deviation:.1f}" if len(values) > 1 else "")


def summary_note(frame: pd.DataFrame) -> str:
    """Return a text with the measure, its unit and the seeds."""
    seeds = sorted(frame["seed"].unique())
    shown = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}, mean ± standard deviation"
    empty = "; –: no pixel counts, all ground truth is void" * bool(frame["miou"].isna().any())
    return f"mIoU in percent over background and all classes; {shown}{empty}"


def packages_note(frame: pd.DataFrame) -> str:
    """Return the versions of the packages that made the numbers, and the machines where they are recorded."""
    packages = {package for cell in frame["packages"] for package in cell.split(", ")}
    machines = "; ".join(sorted({*frame["machine"]} - {""}))
    return ", ".join(sorted(packages)) + "." + f"\n{MADE_ON}{machines}." * bool(machines)
