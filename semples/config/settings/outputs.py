"""Settings of CAMs, pseudo masks, evaluation, figures and tables."""

from typing import Annotated, Literal

from pydantic import Field

from semples.config.settings.section import Count, Fraction, Positive, Section


class Cams(Section):
    """CAM inference, and the file of CAMs."""

    scales: list[Positive] = [1.0, 1.2]
    """Image scales; CAMs are summed over them."""
    flip: bool = True
    """Add the mirrored image at every scale."""
    resize: int | None = None
    """Resize every image to a square of this side in pixels. Empty: every image keeps its size."""
    stride: Count = 4
    """Image pixels per stored pixel, along each side."""
    dtype: Literal["uint8", "float16", "float32"] = "float16"
    """Type of the stored scores; `uint8` has steps of 1/255."""
    batch: Count = 64
    """Images of equal size per forward pass. On a CPU, fewer if they are large."""


class Threshold(Section):
    """Background threshold of the pseudo masks."""

    policy: Literal["fixed", "oracle", "held-out", "label-free"] = "fixed"
    """`fixed`: the value below. `oracle`: the best on the ground truth of the split, which WSSS does not have.
    `held-out`: the best on the ground truth of a fraction. `label-free`: Otsu's threshold of the scores, no masks."""
    value: Fraction = 0.45
    """`fixed` only: score below which a pixel is background."""


class Crf(Section):
    """Dense CRF."""

    preset: Literal["weaktr", "irn", "deeplab", "psa", "mini", "none"] = "weaktr"
    """Published kernels by name; `mini` is for 64-pixel images, `none` skips the CRF."""
    iterations: Count = 10
    """Mean-field iterations."""
    threshold: Threshold = Threshold()
    """Background threshold of the masks that enter the CRF."""
    margin: Fraction = 0.0
    """Pixels become 255 (ignored in training) where the two largest label probabilities differ by less than this."""
    confidence: bool = False
    """Write this difference of every pixel, times 255, as a grey PNG into `confidence/` in the folder of masks."""


class Evaluate(Section):
    """Evaluation against ground truth."""

    thresholds: Annotated[int, Field(ge=2, le=1000)] = 100
    """Number of background thresholds of the curve, evenly spaced from 0 up to, not including, 1."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Fraction of the images with masks that choose the `held-out` threshold; it is evaluated on the others."""


class Figures(Section):
    """Figures with example images."""

    images: Count = 8
    """Images per panel, drawn at random from the split."""
    seed: int = 0
    """Random seed of the draw."""


class Table(Section):
    """A table: its rows are variants, its columns measures. Only stages that the columns need are run."""

    title: str
    """Title."""
    rows: dict[str, str] = {}
    """Labels of the rows, by name in `experiments` or `variants`. Empty label: the name."""
    sweeps: dict[str, Annotated[list[float | str], Field(min_length=1)]] = {}
    """Values to try, by setting, written `section.key`; a row per value."""
    columns: list[Literal["cams", "crf", "segment"]] = ["cams"]
    """`cams` evaluates CAMs, `crf` pseudo masks, `segment` the segmentation network on `data.val`."""
    seeds: Count | None = None
    """Number of seeds, the first of the run. Empty: all of them."""
    settings: dict = {}
    """Settings that differ in all rows of this table, for example fewer epochs; the legend names them."""
    published: bool = False
    """Add published numbers of other methods below the rows, if there are any for the data set."""
    note: str = ""
    """Sentence for the legend."""
