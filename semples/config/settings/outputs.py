"""Settings of what is made of the maps: files, pseudo masks, judgement, pictures."""

from typing import Annotated, Literal

from pydantic import Field

from semples.config.settings.section import Count, Fraction, Positive, Section


class Cams(Section):
    """Inference of the maps and their file."""

    scales: list[Positive] = [1.0, 1.2]
    """Scales of the image, summed."""
    flip: bool = True
    """Also the mirrored image of every scale."""
    resize: int | None = None
    """Squash every image to this side first; empty keeps its own size."""
    stride: Count = 4
    """Stored pixels are this many image pixels apart."""
    dtype: Literal["uint8", "float16", "float32"] = "float16"
    """Stored scores; `uint8` in steps of 1/255."""
    batch: Count = 64
    """Images of equal size in one forward pass; on a CPU fewer where they are large."""


class Threshold(Section):
    """Background threshold of the pseudo masks."""

    policy: Literal["fixed", "oracle", "held-out", "label-free"] = "fixed"
    """`fixed`: the value below; `oracle`: the best on the true masks of the split, which no user has; `held-out`: the
    best on those of a share; `label-free`: Otsu's cut between low and high scores, without masks."""
    value: Fraction = 0.45
    """Score below which a pixel is background, for `fixed`."""


class Crf(Section):
    """Dense CRF."""

    preset: Literal["weaktr", "irn", "deeplab", "psa", "mini", "none"] = "weaktr"
    """Published kernel settings by name; `mini` fits 64-pixel pictures; `none` skips the CRF."""
    iterations: Count = 10
    """Mean-field iterations."""
    threshold: Threshold = Threshold()
    """Background threshold of the masks it starts from."""
    margin: Fraction = 0.0
    """Pixels whose label is more probable than the next one by less than this become 255, ignored in training."""
    confidence: bool = False
    """Also write that difference of every pixel, times 255, as grey PNG into the masks' folder `confidence`."""


class Evaluate(Section):
    """Judging against masks."""

    thresholds: Annotated[int, Field(ge=2, le=1000)] = 100
    """Points of the background-threshold curve, evenly from 0 up to (not including) 1."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the images with masks that chooses the threshold of `held-out`; the others judge it."""


class Figures(Section):
    """Pictures to look at."""

    images: Count = 8
    """Rows of a panel, drawn at random from the split."""
    seed: int = 0
    """Seed of that draw."""


class Table(Section):
    """One table: rows of variants, columns of measures. Nothing but what its columns show is run for it."""

    title: str
    """What stands over it."""
    rows: dict[str, str] = {}
    """Variants of `experiments` or `variants`, each with its label; an empty label is the variant's name."""
    sweeps: dict[str, Annotated[list[float | str], Field(min_length=1)]] = {}
    """Settings, written `section.key`, with the values they take one after the other; a row a value."""
    columns: list[Literal["cams", "crf", "segment"]] = ["cams"]
    """`cams` judges the maps, `crf` the pseudo masks, `segment` the segmentation network on `data.val`."""
    seeds: Count | None = None
    """Only so many of the run's first seeds; empty: all of them."""
    settings: dict = {}
    """What all rows of this table have different, fewer epochs for example; the legend says so."""
    published: bool = False
    """The published numbers of other methods stand below the rows, where the data set has any."""
    note: str = ""
    """A sentence for the legend."""
