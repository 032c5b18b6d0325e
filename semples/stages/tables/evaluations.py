"""Read evaluations of CAMs and masks into one frame, and format their mIoU."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from semples.files import read_json

_NUMBERS = ("threshold", "miou", "low", "high", "boundary_iou")
_COLUMNS = ["variant", "seed", "split", "images", "packages", "measure", "kind", "policy", *_NUMBERS, "classes"]
_TITLES = {"crf": "CAM + CRF", "segment": "segmentation"}
NOTHING = "Nothing was evaluated: no image has a ground-truth mask."


def read_evaluations(rows: Iterable[tuple[str, int, Path]]) -> pd.DataFrame:
    """Return a row per mIoU of every (variant, seed, evaluation JSON): one per threshold policy of CAMs, one of masks.

    `miou` and its 95 % interval over images (`low`, `high`; NaN where the evaluation has none) are in [0, 1]; `classes`
    is a dictionary of the numbers per class.
    """
    frame = pd.DataFrame([line for row in rows for line in _read(*row)], columns=_COLUMNS)
    return frame.astype(dict.fromkeys(_NUMBERS, float))


def _read(variant: str, seed: int, path: Path) -> list[dict]:
    result = read_json(path, "evaluate")
    base = {"variant": variant, "seed": seed} | {key: result[key] for key in ("split", "images", "packages", "kind")}
    if result["kind"] != "cams":
        return [{**base, "measure": _TITLES[result["kind"]], **_values(result)}]
    return [
        {**base, "measure": f"CAM, {policy} threshold", "policy": policy, **_values(values)}
        for policy, values in result["policies"].items()
    ]


def _values(result: dict) -> dict:
    low, high = result.get("interval") or (None, None)
    return {key: result.get(key) for key in ("threshold", "miou", "boundary_iou", "classes")} | {
        "low": low,
        "high": high,
    }


def measures(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (measure, split) of the rows, each once, in their order."""
    return list(frame[["measure", "split"]].drop_duplicates().itertuples(index=False, name=None))


def select(frame: pd.DataFrame, variant: str, measure: str, split: str) -> pd.DataFrame:
    """Return the rows of one cell of a table, one per seed."""
    return frame[(frame["variant"] == variant) & (frame["measure"] == measure) & (frame["split"] == split)]


def mean_and_interval(values: pd.Series) -> tuple[float, float, float, float]:
    """Return mean, standard deviation and 95 % interval (Student's t); of a single value all but the mean are NaN."""
    mean = values.mean()
    if len(values) < 2:
        return mean, np.nan, np.nan, np.nan
    deviation = values.std(ddof=1)
    reach = stats.t.ppf(0.975, len(values) - 1) * deviation / np.sqrt(len(values))
    return mean, deviation, mean - reach, mean + reach


def percent(values: pd.Series) -> str:
    """Return the mean in percent, with ± standard deviation where there are several values; "" without any."""
    mean, deviation, *_ = mean_and_interval(values)
    return "" if values.empty else f"{100 * mean:.1f}" + (f" ± {100 * deviation:.1f}" if len(values) > 1 else "")


def summary_note(frame: pd.DataFrame) -> str:
    """Return a text with the measure, its unit and the seeds."""
    seeds = ", ".join(map(str, sorted(frame["seed"].unique())))
    several = frame["seed"].nunique() > 1
    shown = f"seeds {seeds}, mean ± standard deviation" if several else f"seed {seeds}"
    return f"mIoU in percent over background and all classes; {shown}"


def packages_note(frame: pd.DataFrame) -> str:
    """Return the versions of the packages that made the numbers."""
    return ", ".join(sorted({package for cell in frame["packages"] for package in cell.split(", ")})) + "."
