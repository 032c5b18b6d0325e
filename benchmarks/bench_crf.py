"""Dense CRF (preset irn, threshold 0.3) into palette PNGs. *Plain* is one process, and joblib over files of the
published layout. *Ours* is `semples crf` with the named number of processes, from the HDF5 file, including its start.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from benchmarks.frame import Inputs, Row, seconds
from benchmarks.maps import published, read_published, settings, store
from semples.config.settings import Settings
from semples.data.images import read_image, write_mask
from semples.inference.crf import PRESETS, dense_crf, unary_energy

THRESHOLD = 0.3


def rows(inputs: Inputs) -> list[Row]:
    """Measure images a second and count the masks that differ."""
    maps, folder, images = store(inputs, 1, "float32"), published(inputs), inputs.images()
    count = len(images)

    def ours(processes: int) -> Callable[[], None]:
        out = inputs.folder / f"masks-{processes}"
        flags = ("--config", _settings(inputs, processes).model_dump_json(), "--cams", maps, "--out", out)
        command = [sys.executable, "-m", "semples", "crf", *flags, "--manifest", inputs.manifest]
        # a command of its own: processes started from here would each load the benchmarks first
        return lambda: subprocess.run(list(map(str, command)), check=True)

    def by_joblib() -> None:
        work = delayed(_plain)
        palette, out = images.classes.palette(), inputs.folder / "masks-joblib"
        out.mkdir()
        pairs = zip(images.table["image"], images.table["id"], strict=True)
        Parallel(inputs.threads)(work(photo, folder / f"{image}.npy", out, palette) for photo, image in pairs)

    one, several, joblib = seconds(ours(1)), seconds(ours(inputs.threads)), seconds(by_joblib)
    table = []
    for words, plain, name in (("one process", one, "masks-1"), ("joblib", joblib, "masks-joblib")):
        agreement = _differing(inputs.folder / name, inputs.folder / f"masks-{inputs.threads}")
        measured = f"{words} against {inputs.threads} processes"
        speeds = (count / plain, count / several)
        table.append(Row("crf", measured, *speeds, "images/s", plain / several, agreement, "cpu"))
    return table


def _settings(inputs: Inputs, processes: int) -> Settings:
    config = settings(inputs)
    config.run.threads, config.crf.threshold.value = processes, THRESHOLD
    return config


def _plain(photo: str, maps: Path, out: Path, palette: np.ndarray) -> None:
    score, present = read_published(maps)
    kernels = PRESETS["irn"]
    unary = unary_energy(score, THRESHOLD, kernels.soft)
    labels = dense_crf(read_image(photo), unary, kernels, 10).argmax(axis=0)
    write_mask(out / f"{maps.stem}.png", np.concatenate([[0], present + 1])[labels], palette)


def _differing(one: Path, other: Path) -> str:
    paths = sorted(one.glob("*.png"))
    differ = sum(path.read_bytes() != (other / path.name).read_bytes() for path in paths)
    return f"{differ} of {len(paths)} masks differ by a byte"
