"""How all figures look: widths of a page, a palette for the colour-blind, and writing PNG and PDF together."""

import logging
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from semples.files import atomic_path

COLUMN, PAGE = 3.4, 7.0  # widths in inches of a column and of a page
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")  # Okabe and Ito
LINE_STYLES = ("-", "--", "-.", ":")
TALLEST = 9.5  # inches of a page

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every glyph that goes into a PDF
plt.rcParams.update(
    {
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
        "pdf.fonttype": 42,
    }
)


def save_figure(figure: plt.Figure, out: Path) -> None:
    """Write the PNG `out`, 200 dots an inch, and the PDF beside it; neither has a date in it."""
    for path, kind, metadata in (
        (out.with_suffix(".pdf"), "pdf", {"CreationDate": None}),
        (out, "png", {"Software": None}),
    ):
        with atomic_path(path) as partial:
            figure.savefig(partial, format=kind, dpi=200, metadata=metadata)
    plt.close(figure)
    print(out)


def save_grid(rows: list[dict[str, np.ndarray]], out: Path, names: list[str] | None = None) -> None:
    """Write a row of pictures by title, uint8 (height, width, 3), for each of `rows`, named at its left by `names`."""
    titles = list(rows[0])
    side = min(PAGE / max(len(titles), 4), TALLEST / len(rows))
    size = (side * len(titles) + 0.3 * bool(names), side * len(rows) + 0.35)
    figure, axes = plt.subplots(len(rows), len(titles), figsize=size, squeeze=False, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    for line, pictures in zip(axes, rows, strict=True):
        for axis, picture in zip(line, pictures.values(), strict=True):
            show_image(axis, picture)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(wrap_title(title, side), fontsize=7)
    for axis, name in zip(axes[:, 0], names or [], strict=False):
        axis.set_ylabel(name, fontsize=7)
    save_figure(figure, out)


def show_image(axis: plt.Axes, picture: np.ndarray) -> None:
    """A picture without ticks and frame; its label at the left stays."""
    axis.imshow(picture, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def wrap_title(title: str, width: float) -> str:
    """A title in lines that fit `width` inches at seven points."""
    lines = [""]
    for word in title.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) * 0.056 > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def small_multiples(count: int, columns: int, height: float = 1.5) -> tuple[plt.Figure, list[plt.Axes]]:
    """A figure of `count` axes, `columns` a row, each `height` inches high."""
    columns = min(columns, count)
    lines = -(-count // columns)
    size = (max(PAGE * columns / 4, COLUMN), height * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, list(axes.flat[:count])
