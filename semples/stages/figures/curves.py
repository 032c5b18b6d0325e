"""Draw curves: mIoU over the threshold, losses over epochs, mIoU over the settings of a sweep."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from semples.errors import SemplesError
from semples.figure_style import COLOURS, COLUMN, LINE_STYLES, save_figure, small_multiples
from semples.files import read_json, require

_COLUMNS = 4


def run_thresholds(evaluations: Iterable[tuple[str, int, Path]], out: Path) -> None:
    """Draw a line per variant, the mean over its seeds, in a band of their range; a dot marks the best threshold.

    Args:
        evaluations: (variant, seed, evaluation JSON of CAMs).
    """
    variants: dict[str, list[np.ndarray]] = {}
    for variant, _, path in evaluations:
        curve = read_json(path, "evaluate")["curve"]
        variants.setdefault(variant, []).append(100 * np.array(curve["miou"]))
    thresholds = curve["threshold"]
    figure, axis = plt.subplots(figsize=(COLUMN, 2.6), layout="constrained")
    for k, (variant, curves) in enumerate(variants.items()):
        mean = np.mean(curves, axis=0)
        colour = COLOURS[k % len(COLOURS)]
        axis.plot(thresholds, mean, LINE_STYLES[k % len(LINE_STYLES)], color=colour, label=variant, linewidth=1.2)
        axis.fill_between(thresholds, np.min(curves, axis=0), np.max(curves, axis=0), color=colour, alpha=0.2, lw=0)
        axis.plot(thresholds[mean.argmax()], mean.max(), "o", color=colour, markersize=4)
    axis.set(xlabel="background threshold", ylabel="CAM mIoU, %", ylim=(0, None))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    save_figure(figure, out)


def run_training(metrics: Iterable[tuple[str, Path]], out: Path) -> None:
    """Draw the loss over the epochs, one panel for each (title, metrics.jsonl)."""
    runs = list(metrics)
    figure, axes = small_multiples(len(runs), _COLUMNS)
    for axis, (title, path) in zip(axes, runs, strict=True):
        table = pd.read_json(path, lines=True)
        axis.plot(table["epoch"], table["loss"], marker="o", markersize=2, linewidth=1.2)
        axis.set_title(title.replace(", ", "\n"), fontsize=7)
        axis.locator_params(axis="x", integer=True)
    figure.supxlabel("epoch", fontsize=8)
    figure.supylabel("loss", fontsize=8)
    save_figure(figure, out)


def run_sensitivity(tables: Iterable[Path], out: Path) -> None:
    """Draw a panel per swept setting, with a line per measure; bars are the standard deviation over several seeds.

    Args:
        tables: CSVs of `semples tables paper`.
    """
    frame = pd.concat([pd.read_csv(require(path, "tables paper")) for path in tables])
    swept = frame[frame["setting"].notna()]
    if swept.empty:
        raise SemplesError("tables", "no sweep", "a table with `sweeps`", "name settings in a table's `sweeps`")
    groups = list(swept.groupby("setting", sort=False))
    figure, axes = small_multiples(len(groups), _COLUMNS, height=1.7)
    for axis, (setting, group) in zip(axes, groups, strict=True):
        _draw_sweep(axis, group)
        axis.set_xlabel(setting, fontsize=7)
    low, high = swept["mean"].min(), swept["mean"].max()
    for axis in axes:
        axis.set_ylim(low - 0.1 * (high - low) - 1, high + 0.1 * (high - low) + 1)
    figure.supylabel("mIoU, %", fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    save_figure(figure, out)


def _draw_sweep(axis: plt.Axes, group: pd.DataFrame) -> None:
    """Draw a line per measure. Values are evenly apart, as they often differ in magnitude; words are not joined."""
    for k, (measure, line) in enumerate(group.groupby("measure", sort=False)):
        positions = np.arange(len(line))
        joined = bool(pd.to_numeric(line["value"], errors="coerce").notna().all())
        axis.errorbar(
            positions,
            line["mean"],
            yerr=line["sd"] if line["sd"].notna().all() else None,
            fmt="o" + LINE_STYLES[k % len(LINE_STYLES)] * joined,
            color=COLOURS[k % len(COLOURS)],
            markersize=3,
            linewidth=1.2,
            label=measure,
        )
        axis.set_xticks(positions, [_short(value) for value in line["value"]])
    axis.margins(x=0.15)


def _short(value: str | float) -> str:
    """Return a value without needless digits; a column of numbers and words is read as words."""
    try:
        return f"{float(value):g}"
    except ValueError:
        return str(value)
