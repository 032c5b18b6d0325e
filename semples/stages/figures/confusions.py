"""Draw the confusion matrix of masks."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from semples.data.images import read_mask
from semples.data.manifest import read_manifest
from semples.errors import SemplesError
from semples.evaluation.metrics import confusion_matrix
from semples.figure_style import COLUMN, PAGE, save_figure

_NUMBERS_UP_TO = 10  # classes whose cells have room for a number


def run(manifest: Path, split: str, masks: Path, out: Path) -> None:
    """Draw the shares of each true class's pixels that the masks `masks`/<id>.png of a split assign to each class."""
    everything = read_manifest(manifest)
    everything.report_strays(masks)
    images = everything.split(split).with_masks()
    if missing := [image for image in images.table["id"] if not (masks / f"{image}.png").exists()]:
        count = "no mask" if len(missing) == len(images) else f"{len(missing)} masks fewer, {missing[0]!r} among them,"
        raise SemplesError(masks, f"{count} of split {split!r}", "a mask of every image", "name the split they are of")
    total = np.zeros((len(images.classes) + 1,) * 2, np.int64)
    for image, truth in zip(images.table["id"], images.table["mask"], strict=True):
        total += confusion_matrix(read_mask(truth), read_mask(masks / f"{image}.png"), len(images.classes))
    _draw(total / np.maximum(total.sum(axis=1, keepdims=True), 1), ("background", *images.classes.names), out)


def _draw(share: np.ndarray, names: tuple[str, ...], out: Path) -> None:
    few = len(names) <= _NUMBERS_UP_TO
    figure, axis = plt.subplots(figsize=(COLUMN if few else PAGE) * np.array([1, 0.92]), layout="constrained")
    shown = axis.imshow(share, vmin=0, vmax=1, cmap="cividis")
    axis.set_xticks(range(len(names)), names, rotation=90)
    axis.set_yticks(range(len(names)), names)
    axis.spines[:].set_visible(False)
    axis.set(xlabel="predicted class", ylabel="true class")
    if few:
        for (row, column), value in np.ndenumerate(share):
            colour = "white" if value < 0.5 else "black"
            axis.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=7)
    figure.colorbar(shown, shrink=0.7, label="share of the true class's pixels")
    save_figure(figure, out)
