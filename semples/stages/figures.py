"""figures: panels of pictures, threshold curves and training curves, as PNG."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from semples.files import atomic_path, read_json
from semples.images import colour_mask, heat_overlay, read_image, read_mask
from semples.manifest import Manifest, read_manifest
from semples.settings import Settings
from semples.store import CamFile

PANELS_IN_A_ROW = 4


def run_panel(
    settings: Settings,
    manifest: Path,
    split: str,
    cams: Iterable[tuple[str, Path]],
    masks: Iterable[tuple[str, Path]],
    out: Path,
) -> None:
    """Write the PNG `out`: a row an image; columns image, truth, a heat map for each of `cams`, then each of `masks`.

    The column of truth is there if any image has one, and white for those that have none.

    `cams` are (title, HDF5 file), `masks` (title, folder of PNGs). The images are drawn at random with the settings'
    seed among the labelled ones of `split`; a heat map shows the image's first class.
    """
    images = read_manifest(manifest).split(split).with_labels()
    images = images.sample(settings.figures.images, settings.figures.seed)
    save_grid([_row_pictures(images, row, list(cams), list(masks)) for row in range(len(images))], out)


def save_grid(rows: list[dict[str, np.ndarray]], out: Path) -> None:
    """Write the PNG `out`: a row of pictures by title, uint8 (height, width, 3), for each of `rows`."""
    titles = list(rows[0])
    size = (1.6 * len(titles), 1.6 * len(rows) + 0.3)
    figure, axes = plt.subplots(len(rows), len(titles), figsize=size, squeeze=False, layout="constrained")
    for line, pictures in zip(axes, rows, strict=True):
        for axis, picture in zip(line, pictures.values(), strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    _save(figure, out)


def run_thresholds(evaluations: Iterable[tuple[str, Path]], out: Path) -> None:
    """Write the PNG `out`: mIoU over the background threshold, a line for each of (title, evaluation JSON)."""
    figure, axis = plt.subplots(figsize=(5, 3.4), layout="constrained")
    for title, path in evaluations:
        curve = read_json(path, "evaluate")["curve"]
        miou = 100 * np.array(curve["miou"])
        (line,) = axis.plot(curve["threshold"], miou, label=title)
        axis.plot(curve["threshold"][miou.argmax()], miou.max(), "o", color=line.get_color(), markersize=4)
    axis.set(xlabel="background threshold", ylabel="CAM mIoU, %")
    axis.legend(fontsize=8, frameon=False)
    _save(figure, out)


def run_training(metrics: Iterable[tuple[str, Path]], out: Path) -> None:
    """Write the PNG `out`: the loss of each of (title, metrics.jsonl) over its epochs, a panel each."""
    runs = list(metrics)
    columns = min(PANELS_IN_A_ROW, len(runs))
    lines = -(-len(runs) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(2.4 * columns, 2 * lines), squeeze=False, layout="constrained")
    for axis in axes.flat[len(runs) :]:
        axis.remove()
    for axis, (title, path) in zip(axes.flat, runs, strict=False):
        table = pd.read_json(path, lines=True)
        axis.plot(table["epoch"], table["loss"], color="C0")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("epoch", fontsize=8)
        axis.tick_params(labelsize=7)
    for axis in axes[:, 0]:
        axis.set_ylabel("loss", fontsize=8)
    _save(figure, out)


def _row_pictures(
    images: Manifest, row: int, cams: list[tuple[str, Path]], masks: list[tuple[str, Path]]
) -> dict[str, np.ndarray]:
    here, palette = images.table.iloc[row], images.classes.palette()
    photo = read_image(here["image"])
    pictures = {"image": photo}
    if (images.table["mask"] != "").any():
        pictures["truth"] = colour_mask(read_mask(here["mask"]), palette) if here["mask"] else np.full_like(photo, 255)
    for title, path in cams:
        with CamFile(path) as file:
            pictures[title] = heat_overlay(photo, file.read(here["id"]).full_size()[0])
    for title, folder in masks:
        pictures[title] = colour_mask(read_mask(folder / f"{here['id']}.png"), palette)
    return pictures


def _save(figure: plt.Figure, out: Path) -> None:
    with atomic_path(out) as partial:
        figure.savefig(partial, format="png", dpi=150)
    plt.close(figure)
    print(out)
