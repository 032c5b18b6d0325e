"""Two processes on the CPU (gloo) against one: the same parameters after five steps of the same global batches.

The two compute their shares of a batch in parts.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from semples.data.importers import mini
from semples.data.manifest import write_manifest
from semples.runtime.devices import make_fabric

AUGMENT = {"crop_scale": [0.3, 1], "flip": 0.5, "randaugment": 5, "erasing": 0.5}
STAGE = {"epochs": 1, "batch": 5, "lr": 1e-3, "augment": AUGMENT, "class_weights": "balanced"}
BASE = {
    "precision": "32-true",
    "data": {"source": "mini"},
    "guide": {"model": "mini"},
    "generator": {
        "name": "weaktr",
        "backbone": "deit_tiny_patch16_224",
        "weights": "none",
        "image_size": 64,
        "drop_path": 0,
    },
    # Adam makes a whole step of a gradient that is nothing but rounding: at a low rate it is a small one
    "classify": {**{k: v for k, v in STAGE.items() if k != "class_weights"}, "lr": 2e-4},
    "slm": {**STAGE, "lr": 6.4e-5, "trainable": "all", "w_class": 0.1, "w_area": 0.1},
    "csr": {**STAGE, "lr": 6.4e-5},
    "cpl": {**STAGE, "lr": 2e-4, "length": 4},
}
TOLERANCE = 1e-5


@pytest.mark.parametrize(("capabilities", "precision"), [({"avx512_bf16": True}, "bf16-mixed"), ({}, "32-true")])
def test_auto_is_mixed_precision_where_the_processor_has_bfloat16(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert make_fabric("cpu", "auto")._precision.precision == precision


def command(name: str, devices: int, flags: tuple, **settings) -> list[str]:
    run = {"device": "cpu", "threads": devices, "devices": devices}
    merged = {**BASE, **settings, "run": run}
    return [sys.executable, "-m", "semples", name, "--config", json.dumps(merged), *map(str, flags)]


def semples(name: str, *flags: object, devices: int = 1, **settings) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    done = subprocess.run(command(name, devices, flags, **settings), capture_output=True, text=True, env=kept)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A folder with 26 pictures (five steps of five, one left out), a guide and a classifier made by one process."""
    out = tmp_path_factory.mktemp("start")
    write_manifest(out / "data/manifest.csv", mini.table(out / "data", {"train": 26, "val": 2}, 0), mini.CLASSES)
    semples("guide", "--classes", out / "data/classes.csv", "--out", out / "guide")
    semples("classify", "--manifest", out / "data/manifest.csv", "--out", out / "classify")
    return out


def stage_flags(stage: str, start: Path) -> tuple:
    data = ("--manifest", start / "data/manifest.csv")
    if stage == "classify":
        return data
    model = "--generator" if stage == "cpl" else "--start"
    return *data, "--guide", start / "guide", model, start / "classify/model.safetensors"


def difference(one: Path, two: Path) -> float:
    """Largest difference between the tensors of two files."""
    first, second = load_file(one), load_file(two)
    assert first.keys() == second.keys()
    return max((first[name] - second[name]).abs().max().item() for name in first)


def losses(folder: Path) -> list[dict]:
    left_out = ("images_per_s", "peak_memory_mb")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in left_out} for row in rows]


SLOW = [pytest.param(stage, marks=pytest.mark.slow) for stage in ("slm", "cpl", "joint")]


@pytest.mark.parametrize("stage", ["classify", *SLOW])
def test_two_processes_learn_what_one_does(start, tmp_path, stage):
    section = "csr" if stage == "joint" else stage
    for devices in (1, 2):  # the two have three images and two, in three parts and two
        settings = {section: {**BASE[section], "accumulate": 2 * devices - 1}}
        flags = (*stage_flags(stage, start), "--out", tmp_path / str(devices))
        said = semples(stage, *flags, devices=devices, **settings)
        assert said.count(f"{stage}: {tmp_path / str(devices)}") == 1  # one of the processes reports
    models = [tmp_path / str(devices) / "model.safetensors" for devices in (1, 2)]
    (before, one, two) = (start / "classify/model.safetensors", *models)
    assert difference(one, two) < TOLERANCE
    if stage == "slm":
        assert difference(before, one) > 10 * TOLERANCE  # they did learn
    (first,), (second,) = losses(one.parent), losses(two.parent)
    assert first["step"] == 5
    assert first == pytest.approx(second, abs=TOLERANCE)


@pytest.mark.slow
def test_two_processes_stop_on_sigterm_together_and_resume(start, tmp_path):
    settings = {"classify": {**BASE["classify"], "epochs": 12}}
    flags = (*stage_flags("classify", start), "--out", tmp_path)
    process = subprocess.Popen(command("classify", 2, flags, **settings), stderr=subprocess.PIPE, text=True)
    running, end = tmp_path / "checkpoints/metrics.jsonl", time.monotonic() + 120
    while not (running.exists() and running.read_text()):
        assert time.monotonic() < end
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    process.terminate()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143, said
    step = int(re.search(r"SIGTERM: saved at step (\d+)", said)[1])
    time.sleep(3)  # it looks once a second whether its parent lives
    assert not Path(f"/proc/{children[0]}/cmdline").exists() or not Path(f"/proc/{children[0]}/cmdline").read_text()
    done = subprocess.run(command("classify", 2, flags, **settings), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"at step {step} of 60" in done.stderr
    assert len(losses(tmp_path)) == 12
