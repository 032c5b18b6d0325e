"""Every stage, ended at ten random moments by SIGKILL, SIGTERM and SIGINT, goes on to the bytes of a whole run."""

import json
import os
import random
import signal
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from fault_totals import tried

from semples.cli import main
from semples.files import IGNORED

pytestmark = pytest.mark.slow
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TRAINING = {"epochs": 3, "batch": 4}
NETWORK = {"encoder": "tu-resnet10t", "weights": "none", "decoder_channels": 16, "crop": 64, "test_scales": [1.0]}
SETTINGS = json.dumps(
    {
        "run": {"device": "cpu", "threads": 1},
        "data": {"source": "mini", "scenes": {"train": 24, "val": 8}},
        "guide": {"model": "mini"},
        "generator": {"name": "conv_cam", "weights": "none", "image_size": 64},
        **dict.fromkeys(("classify", "slm", "csr"), TRAINING),
        "cpl": TRAINING | {"length": 4},
        "cams": {"scales": [1.0], "stride": 2},
        "crf": {"preset": "mini"},
        "segment": TRAINING | NETWORK,
    }
)
IMAGES, GUIDE = ["--manifest", "data/manifest.csv"], ["--guide", "guide"]
START = ["--start", "classify/model.safetensors"]
STAGES = {
    "data": [],
    "guide": ["--classes", "data/classes.csv"],
    "classify": IMAGES,
    "slm": [*IMAGES, *GUIDE, *START],
    "cpl": [*IMAGES, *GUIDE, "--generator", "slm/model.safetensors"],
    "csr": [*IMAGES, *GUIDE, *START, "--prompts", "cpl/prompts.safetensors"],
    "cams": [*IMAGES, "--split", "train", "--generator", "csr/model.safetensors"],
    "crf": [*IMAGES, "--cams", "cams"],
    "segment": [*IMAGES, "--masks", "crf"],
    "segment_masks": [*IMAGES, "--checkpoint", "segment/model.safetensors"],
    "evaluate": [*IMAGES, "--split", "val", "--masks", "segment_masks", "--kind", "segment"],
}
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["semples.cli.adapters", *(f"semples.stages.{stage}" for stage in STAGES)])


def run(stage: str, out: str, folder: Path) -> None:
    """Run one command in this process, and end it with its exit code; a signal before it has begun is none to it."""
    begun = False
    try:
        os.chdir(folder)
        sys.stdout = sys.stderr = open(f"{out}.log", "a")  # noqa: SIM115
        begun = True
        os._exit(main([stage, "--config", SETTINGS, *STAGES[stage], "--out", out]))
    except KeyboardInterrupt:
        if begun:
            raise
        os._exit(130)


def start(stage: str, out: str, folder: Path):
    process = CONTEXT.Process(target=run, args=(stage, out, folder))
    process.start()
    return process


def contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of the outputs at or below a path; metrics have speeds, so their bytes do not count."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    files = [file for file in files if file.name not in IGNORED and "checkpoints" not in file.parts]
    return {str(file.relative_to(path)): b"" if file.name == "metrics.jsonl" else file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, dict[str, float]]:
    """A folder with the outputs of an undisturbed run, and the seconds of each stage."""
    folder, seconds = tmp_path_factory.mktemp("whole"), {}
    start("data", "first", folder).join()  # the fork server loads all stages with its first process
    for stage in STAGES:
        begun, process = time.monotonic(), start(stage, stage, folder)
        process.join()
        assert process.exitcode == 0, (folder / f"{stage}.log").read_text()
        seconds[stage] = time.monotonic() - begun
    return folder, seconds


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_stage_goes_on_to_the_same_bytes(stage, whole):
    folder, seconds = whole
    draw, out, kills = random.Random(stage), f"interrupted-{stage}", 0
    for number in range(10):
        process = start(stage, out, folder)
        process.join(draw.uniform(0.02, 1) * seconds[stage])
        if process.is_alive():
            os.kill(process.pid, SIGNALS[number % 3])
            kills += 1
        process.join()
    assert kills
    tried("kills survived", kills)
    process = start(stage, out, folder)
    process.join()
    log = (folder / f"{out}.log").read_text()
    assert process.exitcode == 0, log
    assert "Traceback" not in log
    assert contents(folder / out) == contents(folder / stage)
    assert not list(folder.rglob(f"{out}/**/.*partial*")) + list(folder.glob(f".{out}.*"))
