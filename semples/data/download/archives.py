"""The archives that VOC 2012 and COCO 2014 are published in, from archives.yaml."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Archive:
    """One file to download and unpack; archives.yaml explains the fields."""

    file: str
    urls: Sequence[str]
    folder: str
    digest: str | None
    size: int | None
    unpacked_size: int


ARCHIVES: dict[str, tuple[Archive, ...]] = {
    source: tuple(Archive(**entry) for entry in entries)
    for source, entries in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")).items()
}
