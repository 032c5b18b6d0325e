"""Read evaluations of CAMs and masks into one frame, and format their mIoU."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from semples.files import read_json

Runs = Iterable[tuple[str, int, Path]]  # variant, seed, file
_NUMBERS = ("threshold", "miou", "low", "high", "boundary_iou")
_COLUMNS = ["variant", "seed", "split", "images", "packages", "measure", "kind", "policy", *_NUMBERS, "classes"]
_TITLES = {"crf": "CAM + CRF", "segment": "segmentation"}
NOTHING = "Nothing was evaluated: no image has a ground-truth mask."


def read_evaluations(rows: Runs) -> pd.DataFrame:
    """Return a row per mIoU of every (variant, seed, evaluation JSON): one per threshold policy of CAMs, one of masks.

    `miou` and its 95 % interval over images (`low`, `high`; NaN where the evaluation has none) are in [0, 1]; `classes`
    is a dictionary of the numbers per class.
    """
    frame = pd.DataFrame([line for row in rows for line in _read(*row)], columns=_COLUMNS)
    return frame.astype(dict.fromkeys(_NUMBERS, float))


def _read(variant: str, seed: int, path: Path) -> Iterator[dict]:
    result = read_json(path, "evaluate")
    for policy, values in (result["policies"] if result["kind"] == "cams" else {None: result}).items():
        measure = f"CAM, {policy} threshold" if policy else _TITLES[result["kind"]]
        low, high = values.get("interval") or (None, None)
        row = {"variant": variant, "seed": seed, "measure": measure, "policy": policy, "low": low, "high": high}
        yield {**result, **values, **row, "images": result["images"]}


def select(frame: pd.DataFrame, variant: str, measure: str, split: str) -> pd.DataFrame:
    """Return the rows of one cell of a table, one per seed."""
    return frame[(frame["variant"] == variant) & (frame["measure"] == measure) & (frame["split"] == split)]


def mean_and_interval(values: pd.Series) -> tuple[float, float, float, float]:
    """Return mean, standard deviation and 95 % interval (Student's t); of a single value all but the mean are NaN."""
    mean, deviation = values.mean(), values.std(ddof=1)
    reach = stdtrit(len(values) - 1, 0.975) * deviation / np.sqrt(len(values))
    return mean, deviation, mean - reach, mean + reach


def percent(values: pd.Series) -> str:
    """Return the mean in percent, with ± standard deviation where there are several values; "" without any."""
    mean, deviation, *_ = mean_and_interval(values)
    return "" if values.empty else f"{100 * mean:.1f}" + (f" ± {100 * deviation:.1f}" if len(values) > 1 else "")


def summary_note(frame: pd.DataFrame) -> str:
    """Return a text with the measure, its unit and the seeds."""
    seeds = sorted(frame["seed"].unique())
    shown = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}, mean ± standard deviation"
    return f"mIoU in percent over background and all classes; {shown}"


def packages_note(frame: pd.DataFrame) -> str:
    """Return the versions of the packages that made the numbers."""
    return ", ".join(sorted({package for cell in frame["packages"] for package in cell.split(", ")})) + "."
