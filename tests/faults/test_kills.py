"""A learning stage that is killed at random moments, again and again, ends with the bytes of an undisturbed one."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from semples.cli import main

# a checkpoint after every step, so that many signals meet one that is being written
PROGRAM = "from semples.training import loop; loop.SAVE_EVERY_S = -1; from semples.cli import main; import sys; "
PROGRAM += "sys.exit(main())"
KILLS = 6
LEARN = {"epochs": 40, "batch": 8, "augment": {"randaugment": 0}}
SETTINGS = {
    "run": {"device": "cpu", "threads": 1},
    "data": {"source": "mini"},
    "guide": {"model": "mini"},
    "generator": {"name": "conv_cam", "weights": "none", "image_size": 32},
    "selection": {"policy": "label-free", "images": 4},
    **dict.fromkeys(("classify", "slm", "csr"), LEARN),
    "cpl": {**LEARN, "length": 4},
}


@pytest.fixture(scope="module")
def start(miniature, tmp_path_factory) -> Path:
    """A folder with a guide and a classifier of the miniature, which took one epoch."""
    out = tmp_path_factory.mktemp("kills")
    quick = json.dumps(SETTINGS | {"classify": LEARN | {"epochs": 1}})
    classes = miniature.with_name("classes.csv")
    assert main(["guide", "--config", quick, "--classes", str(classes), "--out", str(out / "guide")]) == 0
    assert main(["classify", "--config", quick, "--manifest", str(miniature), "--out", str(out / "classify")]) == 0
    return out


def line(stage: str, start: Path, manifest: Path, out: Path, workers: int = 0) -> list[str]:
    settings = SETTINGS | {"run": SETTINGS["run"] | {"workers": workers}}
    command = [stage, "--config", json.dumps(settings), "--manifest", manifest, "--out", out]
    if stage != "classify":
        model = "--generator" if stage == "cpl" else "--start"
        command += ["--guide", start / "guide", model, start / "classify/model.safetensors"]
    return [str(part) for part in command]


def tensors(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def stopped(command: list[str], out: Path, number: signal.Signals, seconds: float) -> bool:
    """Start a stage, send it a signal some time after its first new checkpoint; return whether it was still running."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *command], stderr=subprocess.PIPE, text=True)
    last, begun = out / "checkpoints/last.ckpt", time.time()
    while process.poll() is None and not (last.exists() and last.stat().st_mtime > begun):
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(number)
    errors = process.communicate()[1]
    assert process.returncode in (0, -signal.SIGKILL, 128 + number), errors
    return process.returncode != 0


@pytest.mark.slow
@pytest.mark.fault("kills survived")
@pytest.mark.parametrize(("stage", "workers"), [("classify", 1), ("slm", 0), ("cpl", 0), ("joint", 0)])
def test_a_killed_stage_ends_with_the_bytes_of_an_undisturbed_one(start, miniature, tmp_path, stage, workers):
    rng = np.random.default_rng(len(stage))
    assert main(line(stage, start, miniature, tmp_path / "whole")) == 0
    command, kills = line(stage, start, miniature, tmp_path / "killed", workers), 0
    for number in rng.permutation(KILLS):
        kind = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[number % 3]
        if not stopped(command, tmp_path / "killed", kind, rng.uniform(0, 0.7)):
            break
        kills += 1
    assert kills
    assert main(command) == 0
    assert tensors(tmp_path / "killed") == tensors(tmp_path / "whole")
    assert not list(tmp_path.rglob("*partial*")) + list(tmp_path.rglob("*.ckpt"))
