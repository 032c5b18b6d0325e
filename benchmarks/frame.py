"""Inputs and rows of the benchmarks, and the page with all rows."""

import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from statistics import median

import pandas as pd
import torch

from semples import __version__
from semples.config.settings import Data
from semples.data.importers.registry import load_data_set
from semples.data.manifest import Manifest, read_manifest, write_manifest
from semples.data.scan import scan_images, scanned_table
from semples.stages.tables.formats import markdown

SPLIT = "all"
PACKAGES = ("torch", "timm", "open_clip_torch", "numpy", "h5py", "pillow", "opencv-python-headless", "pydensecrf2")
MINI_SCENES = {"train": 48, "val": 16}
LEGEND = """*plain* re-creates the published method from its description: one image at a time, a float32 file per image,
an evaluation that reads all files again for every threshold. *ours* is this package, in the same run on the same
photographs. *ratio* is the factor by which ours is better; below 1 it is worse. Steps and loader run once to warm up,
then three times, of which the median counts; the other rows are one run."""


@dataclass(frozen=True)
class Inputs:
    """Data, weights and resources of the benchmarks."""

    manifest: Path
    """manifest.csv of the photographs; all are in split `all`, besides their own."""
    split: str
    """`all`."""
    folder: Path
    """Scratch folder, removed afterwards."""
    generator: Path | None
    """model.safetensors of a trained `vit_cam` on `deit_tiny_patch16_224`; None: random weights, for speed alone."""
    threads: int
    """CPU threads or processes that both ways may use."""
    device: str
    """`cpu` or `cuda`."""
    data: str
    """The photographs, in words."""

    def images(self) -> Manifest:
        """Return all photographs, with and without masks."""
        return read_manifest(self.manifest).split(self.split)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    step: str
    """Stage or part of the package."""
    measured: str
    """Description of the measured quantity."""
    plain: float
    """Figure of the published method."""
    ours: float
    """Figure of the package, in the same run."""
    unit: str
    """Unit of both."""
    ratio: float
    """Factor by which the package is better; below 1 it is worse."""
    agreement: str
    """Agreement of both results, with its figure."""
    device: str
    """`cpu` or `cuda`."""


def seconds(work: Callable[[], object], calls: int = 1) -> float:
    """Return the wall-clock seconds of `work()`, the median of so many calls, with the GPU synchronised around each."""
    times = []
    for _ in range(calls):
        _finish()
        begun = time.perf_counter()
        work()
        _finish()
        times.append(time.perf_counter() - begun)
    return median(times)


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def photographs(devkit: Path | None, folder: Path, count: int | None) -> tuple[Path, str]:
    """Write a manifest of labelled photographs of a VOC devkit, or of the mini world; return it and a description."""
    data = Data(source="voc", root=str(devkit)) if devkit else Data(source="mini", scenes=MINI_SCENES)
    folder.mkdir(parents=True)
    classes, table = load_data_set(data, folder, 1)
    table = table[table["labels"] != ""].head(count or len(table))
    table = table.assign(split=table["split"] + f";{SPLIT}")
    table = scanned_table(table, list(scan_images(table, classes, data, folder, 1)))
    write_manifest(folder / "manifest.csv", table, classes)
    drawn = "drawn pictures of 64 x 64 pixels, as no photographs are named: their times say little"
    return folder / "manifest.csv", f"{len(table)} {'photographs of PASCAL VOC 2012' if devkit else drawn}"


def page(rows: Iterable[Row], notes: dict[str, str], inputs: Inputs, command: str) -> str:
    """Return the Markdown of docs/performance.md: table, machine, and the note of each benchmark by name."""
    lines = [
        {**asdict(row), "plain": f"{row.plain:.4g}", "ours": f"{row.ours:.4g}", "ratio": f"{row.ratio:.2f}"}
        for row in rows
    ]
    parts = [
        "# Performance",
        f"Made by `{command}`.\n{LEGEND}",
        f"{inputs.data}; {inputs.threads} threads or processes; {machine()}; {date.today()}.\n\n{versions()}.",
        markdown(pd.DataFrame(lines)).rstrip(),
        "## What is compared",
        *(f"**{name}.** {note}" for name, note in notes.items()),
    ]
    return "\n\n".join(parts) + "\n"


def as_json(rows: Iterable[Row], inputs: Inputs) -> str:
    """Return the rows with machine, date and versions as JSON."""
    where = {"data": inputs.data, "threads": inputs.threads, "machine": machine(), "date": str(date.today())}
    return json.dumps({**where, "versions": versions(), "rows": [asdict(row) for row in rows]}, indent=2) + "\n"


def machine() -> str:
    """Return processor, cores and GPU of this machine."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {gpu}"


def versions() -> str:
    """Return the versions of the packages that the figures depend on."""
    packages = [f"{name} {metadata.version(name)}" for name in PACKAGES]
    return ", ".join([f"semples {__version__}", f"Python {platform.python_version()}", *packages])
