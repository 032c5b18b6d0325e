"""Time and memory as the number of images grows. The first photographs, used once, twice, four and eight times over,
pass through one epoch of classify and through cams, each in a process of its own whose start is not counted. In these
rows *plain* is the run with the photographs used once and *ours* the larger run. A ratio of 1 means that time grows
with the number of images, or that memory is constant. Decoded images are not kept (`run.cache_gb: 0`)."""

import json
import subprocess
import sys

import pandas as pd

from benchmarks.frame import SPLIT, Inputs, Row
from semples.data.manifest import write_manifest

FACTORS = (1, 2, 4, 8)
IMAGES = 300
SETTINGS = {
    "precision": "32-true",
    "generator": {"name": "conv_cam", "weights": "none", "image_size": 64},
    "classify": {"epochs": 1, "batch": 16, "augment": {"randaugment": 0, "erasing": 0}},
    "cams": {"scales": [1.0], "flip": False, "resize": 64, "batch": 16},
    "data": {"train": SPLIT},
}
MEASURED = """
import sys, time
import semples.stages.cams, semples.stages.classify
from semples.cli import main
begun = time.monotonic()
if main(sys.argv[1:]):
    sys.exit(1)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(time.monotonic() - begun, int(status["VmHWM"].split()[0]) / 1e3)
"""


def rows(inputs: Inputs) -> list[Row]:
    """Measure time per image and peak memory, one row per stage and factor."""
    images = min(IMAGES, len(inputs.images()))
    measured = {factor: _stages(inputs, factor) for factor in FACTORS}
    table = []
    for stage, (once, memory) in measured[1].items():
        for factor in FACTORS[1:]:
            time, peak = measured[factor][stage]
            name, agreement = f"{factor} x {images} images", "the same images, used repeatedly"
            each = [1e3 * once / images, 1e3 * time / images / factor]
            table.append(Row(stage, f"{name}: time an image", *each, "ms", each[0] / each[1], agreement, inputs.device))
            table.append(
                Row(stage, f"{name}: peak memory", memory, peak, "MB", memory / peak, agreement, inputs.device)
            )
    return table


def _stages(inputs: Inputs, factor: int) -> dict[str, tuple[float, float]]:
    """Return seconds and MB of each stage over the photographs used `factor` times."""
    images, folder = inputs.images(), inputs.folder / f"growth{factor}"
    once = images.table.head(IMAGES)
    copies = [once.assign(id=once["id"] + f" {copy}") for copy in range(factor)]
    write_manifest(folder / "manifest.csv", pd.concat(copies, ignore_index=True), images.classes)
    common = ("--manifest", folder / "manifest.csv")
    model = folder / "classify/model.safetensors"
    return {
        "classify": _run(inputs, "classify", *common, "--out", model.parent),
        "cams": _run(inputs, "cams", *common, "--split", SPLIT, "--generator", model, "--out", folder / "cams.h5"),
    }


def _run(inputs: Inputs, command: str, *flags: object) -> tuple[float, float]:
    run = {"device": inputs.device, "threads": inputs.threads, "cache_gb": 0}
    config = json.dumps({**SETTINGS, "run": run, "masks_from": "classify"})
    words = [sys.executable, "-c", MEASURED, command, "--config", config, *map(str, flags)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    time, memory = done.stdout.splitlines()[-1].split()
    return float(time), float(memory)
