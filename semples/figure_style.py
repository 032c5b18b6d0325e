"""Common style of the figures: page widths, a palette for colour-blind readers, PNG and PDF output."""

import logging
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.layout_engine import ConstrainedLayoutEngine

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from semples.colours import BLACK, OKABE_ITO
from semples.errors import SemplesError
from semples.files import atomic_path

COLUMN, PAGE = 3.4, 7.0  # inches, widths of a column and of a page
MAX_HEIGHT = 9.5  # inches
COLOURS = (*OKABE_ITO[:-1], BLACK, OKABE_ITO[-1])  # yellow is faint on white: last
LINE_STYLES = ("-", "--", "-.", ":")

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs every glyph of a PDF
plt.rcParams |= {
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 8),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 7),
    **dict.fromkeys(("legend.frameon", "axes.spines.top", "axes.spines.right", "text.parse_math"), False),
    **{"axes.prop_cycle": plt.cycler(color=COLOURS), "pdf.fonttype": 42},
}


def save_figure(figure: plt.Figure, out: Path) -> None:
    """Write the PNG `out` at 200 dots per inch, and a PDF beside it, both without a date; close the figure."""
    pdf = (out.with_suffix(".pdf"), "pdf", {"CreationDate": None})
    for path, kind, metadata in (pdf, (out, "png", {"Software": None})):
        with atomic_path(path) as partial:
            figure.savefig(partial, format=kind, dpi=200, metadata=metadata)
    plt.close(figure)
    print(out)


def save_grid(rows: list[dict[str, np.ndarray]], out: Path, names: list[str] | None = None) -> None:
    """Write a grid of images.

    Args:
        rows: Images RGB uint8 (height, width, 3) by title; all rows have the same titles.
        out: PNG; a PDF is written beside it.
        names: Label at the left of each row.
    """
    titles = list(rows[0])
    side = min(PAGE / max(len(titles), 4), MAX_HEIGHT / len(rows))
    size = (side * len(titles) + 0.3 * bool(names), side * len(rows) + 0.35)
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    figure, axes = plt.subplots(len(rows), len(titles), figsize=size, squeeze=False, layout=layout)
    for line, images, name in zip(axes, rows, names or [""] * len(rows), strict=True):
        line[0].set_ylabel(name, fontsize=7)
        for axis, image in zip(line, images.values(), strict=True):
            show_image(axis, image)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(wrap_title(title, side), fontsize=7)
    save_figure(figure, out)


def show_image(axis: plt.Axes, image: np.ndarray) -> None:
    """Draw an image without ticks and frame; the label at its left stays."""
    axis.imshow(image, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def wrap_title(title: str, width: float) -> str:
    """Break a title into lines that fit `width` inches at seven points."""
    return textwrap.fill(title, max(1, int(width / 0.056)), break_long_words=False, break_on_hyphens=False)


def small_multiples(count: int, columns: int, height: float = 1.5) -> tuple[plt.Figure, list[plt.Axes]]:
    """Return a figure of `count` axes in at most `columns` columns, each `height` inches high."""
    if not count:
        raise SemplesError("figures", "nothing to draw", "at least one panel", "name files that are not empty")
    columns = min(columns, count)
    lines = -(-count // columns)
    size = (max(PAGE * columns / 4, COLUMN), height * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, list(axes.flat[:count])
