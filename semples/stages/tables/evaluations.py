"""What the tables read: evaluations of CAMs and masks, a number a line."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from semples.files import read_json

COLUMNS = [
    *("variant", "seed", "split", "images", "packages", "measure", "kind", "policy", "threshold"),
    *("miou", "low", "high", "boundary_iou", "classes"),
]
TITLES = {"crf": "CAM + CRF", "segment": "segmentation"}


def numbers(rows: Iterable[tuple[str, int, Path]]) -> pd.DataFrame:
    """A line a number of every (variant, seed, evaluation JSON): one a threshold policy for CAMs, one for masks.

    mIoU and its 95 % interval over images (`low`, `high`; empty where the evaluation has none) are in [0, 1];
    `classes` is a dictionary of every class's numbers.
    """
    frame = pd.DataFrame([line for row in rows for line in _numbers(*row)], columns=COLUMNS)
    return frame.astype(dict.fromkeys(("threshold", "miou", "low", "high", "boundary_iou"), float))


def _numbers(variant: str, seed: int, path: Path) -> list[dict]:
    found = read_json(path, "evaluate")
    base = {"variant": variant, "seed": seed} | {key: found[key] for key in ("split", "images", "packages", "kind")}
    if found["kind"] != "cams":
        return [{**base, "measure": TITLES[found["kind"]], **_values(found)}]
    return [
        {**base, "measure": f"CAM, {policy} threshold", "policy": policy, **_values(at)}
        for policy, at in found["policies"].items()
    ]


def _values(found: dict) -> dict:
    low, high = found.get("interval") or (None, None)
    kept = {key: found.get(key) for key in ("threshold", "miou", "boundary_iou", "classes")}
    return {**kept, "low": low, "high": high}


def measures(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """(measure, split) of the numbers, in their order."""
    return list(frame[["measure", "split"]].drop_duplicates().itertuples(index=False, name=None))


def of(frame: pd.DataFrame, variant: str, measure: str, split: str) -> pd.DataFrame:
    """The numbers of one cell of a table, a line a seed."""
    return frame[(frame["variant"] == variant) & (frame["measure"] == measure) & (frame["split"] == split)]


def spread(values: pd.Series) -> tuple[float, float, float, float]:
    """Mean, standard deviation and 95 % interval (Student's t) over seeds; NaN but for the mean of a single seed."""
    mean = values.mean()
    if len(values) < 2:
        return mean, np.nan, np.nan, np.nan
    deviation = values.std(ddof=1)
    reach = stats.t.ppf(0.975, len(values) - 1) * deviation / np.sqrt(len(values))
    return mean, deviation, mean - reach, mean + reach


def percent(values: pd.Series) -> str:
    """A cell: mean in percent, ± standard deviation over several seeds."""
    if values.empty:
        return ""
    mean, deviation, *_ = spread(values)
    return f"{100 * mean:.1f}" if len(values) == 1 else f"{100 * mean:.1f} ± {100 * deviation:.1f}"


def packages_of(frame: pd.DataFrame) -> str:
    """The versions that made the numbers."""
    return ", ".join(sorted({package for cell in frame["packages"] for package in cell.split(", ")}))


def seeds_note(frame: pd.DataFrame) -> str:
    """Which seeds, and what a cell says of them."""
    seeds = ", ".join(map(str, sorted(frame["seed"].unique())))
    if frame["seed"].nunique() == 1:
        return f"seed {seeds}"
    return f"seeds {seeds}, mean ± standard deviation"
