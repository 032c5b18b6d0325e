"""Settings of the paper's tables: which variants each one shows, and what of them."""

from typing import Annotated, Literal

from pydantic import Field

from semples.config.settings.section import Count, Section


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
