"""Draw curves of mIoU over thresholds and settings and of losses over epochs, and bars of the words of prompts."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from semples.data.csv_file import WORDS, read_csv
from semples.errors import SemplesError
from semples.evaluation.evaluation_file import read_evaluation
from semples.figure_style import COLOURS, COLUMN, LINE_STYLES, PAGE, save_figure, small_multiples
from semples.files import read_json_lines

_COLUMNS = 4
_COLUMNS_OF_WORDS = 3
_WORDS = 5  # of a class


def run_thresholds(evaluations: Iterable[tuple[str, int, Path]], out: Path) -> None:
    """Draw a line per variant of evaluations of CAMs, the mean over its seeds in a band of their range; a dot marks the
    best threshold."""
    variants: dict[str, list[np.ndarray]] = {}
    thresholds: list[float] = []
    for variant, _, path in evaluations:
        curve = read_evaluation(path).curve
        if curve is None or curve.threshold != (thresholds or curve.threshold):
            problem = "other thresholds" if curve else "an evaluation of masks"
            raise SemplesError(path, problem, "CAMs evaluated at one grid of thresholds", "evaluate the CAMs again")
        variants.setdefault(variant, []).append(100 * np.array(curve.miou))
        thresholds = curve.threshold
    figure, axis = plt.subplots(figsize=(COLUMN, 2.6), layout="constrained")
    for k, (variant, curves) in enumerate(variants.items()):
        mean, colour = np.mean(curves, axis=0), COLOURS[k % len(COLOURS)]
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
        table = pd.DataFrame(read_json_lines(path, "of a stage that trains"))
        if not {"epoch", "loss"} <= {*table.columns}:
            problem = f"the keys {', '.join(table.columns) or 'none'}"
            raise SemplesError(path, problem, "epoch and loss on every line", "name metrics.jsonl of a training")
        axis.plot(table["epoch"], table["loss"].astype(float), marker="o", markersize=2, linewidth=1.2)
        axis.set_title(title.replace(", ", "\n"), fontsize=7)
        axis.locator_params(axis="x", integer=True)
    figure.supxlabel("epoch", fontsize=8)
    figure.supylabel("loss", fontsize=8)
    save_figure(figure, out)


def run_sensitivity(tables: Iterable[Path], out: Path) -> None:
    """Draw a panel per swept setting of CSVs of `semples tables paper`, with a line per measure; bars are the standard
    deviation over several seeds."""
    columns = ("setting", "measure"), ("mean", "sd")
    frame = pd.concat([read_csv(path, "tables paper", *columns) for path in tables])
    swept = frame[frame["setting"].notna()]
    if swept.empty:
        raise SemplesError("tables", "no sweep", "a table with `sweeps`", "name settings in a table's `sweeps`")
    groups = list(swept.groupby("setting", sort=False))
    figure, axes = small_multiples(len(groups), _COLUMNS, height=1.7)
    for axis, (setting, group) in zip(axes, groups, strict=True):
        _draw_sweep(axis, group)
        axis.set_xlabel(setting, fontsize=7)
    low, high = swept["mean"].min(), swept["mean"].max()
    plt.setp(axes, ylim=(low - 0.1 * (high - low) - 1, high + 0.1 * (high - low) + 1))
    figure.supylabel("mIoU, %", fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    save_figure(figure, out)


def _draw_sweep(axis: plt.Axes, group: pd.DataFrame) -> None:
    """Draw a line per measure. Values are evenly apart, as they often differ in magnitude; words are not joined."""
    for k, (measure, line) in enumerate(group.groupby("measure", sort=False)):
        positions, values = np.arange(len(line)), pd.to_numeric(line["value"], errors="coerce").astype(float)
        style, colour = "o" + LINE_STYLES[k % len(LINE_STYLES)] * bool(values.notna().all()), COLOURS[k % len(COLOURS)]
        spread = line["sd"] if line["sd"].notna().all() else None
        bars = axis.errorbar(positions, line["mean"], spread, fmt=style, color=colour, markersize=3, linewidth=1.2)
        bars.set_label(measure)
        # a column of numbers and words is read as words
        texts = zip(values, line["value"], strict=True)
        axis.set_xticks(positions, [text if np.isnan(value) else f"{value:g}" for value, text in texts])
    axis.margins(x=0.15)


def run_prompts(words: Path, manual: dict[str, list[str]], out: Path) -> None:
    """Draw the cosine of the nouns nearest to each class's learned prompt; those written by hand have another colour.

    Args:
        words: words.csv of `semples cpl`.
        manual: Words written by hand, by class; under "" those of all other classes.
    """
    frame = read_csv(words, "cpl", *WORDS)
    nearest = frame[frame["list"] == "nearest"].groupby("class", sort=False).head(_WORDS)
    groups = list(nearest.groupby("class", sort=False))
    figure, axes = small_multiples(len(groups), _COLUMNS_OF_WORDS, height=1.15)
    figure.set_figwidth(PAGE * min(_COLUMNS_OF_WORDS, len(groups)) / _COLUMNS_OF_WORDS)
    for axis, (name, group) in zip(axes, groups, strict=True):
        by_hand = manual.get(name, manual.get("", []))
        colours = [COLOURS[3] if word in by_hand else COLOURS[5] for word in group["word"][::-1]]
        axis.barh(group["word"][::-1], group["cosine"][::-1], color=colours, height=0.7)
        axis.set_xlim(min(0, 1.1 * nearest["cosine"].min()), max(0, 1.1 * nearest["cosine"].max()))
        more = ", ..." if len(by_hand) > 2 else ""
        axis.set_title(f"{name}  (by hand: {', '.join(by_hand[:2])}{more})" if by_hand else name, fontsize=7)
        axis.tick_params(labelsize=6.5)
    figure.supxlabel("cosine of the learned prompt and “a photo of <word>.”", fontsize=7)
    save_figure(figure, out)
