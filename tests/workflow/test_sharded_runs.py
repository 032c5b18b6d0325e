"""Shards of cams, refine and crf: the same results, and after kill -9 only the unfinished ones are made again."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from semples.files import MARKS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {
    "preset": "mini",
    "name": "sharded",
    "run": {"threads": 1, "shards": 3},
    "data": {"scenes": {"train": 90, "val": 4}},
    "masks_from": "classify",
    "refine": {"kind": "superpixels"},
    "classify": {"epochs": 1},
    "experiments": {"classifier": {}, "slm": None, "csr-manual": None, "csr-learned": None},
}
MASKS = "results/sharded/crf/classifier/seed0/masks"


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory, snakemake) -> Path:
    """A working directory with undisturbed masks made in three shards."""
    folder = tmp_path_factory.mktemp("shards")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    snakemake(folder, "--cores", 2, MASKS)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All outputs of cams, refine and crf, by path."""
    base = folder / "results/sharded"
    paths = [path for stage in ("cams", "refine", "crf") for path in (base / stage).rglob("*") if path.is_file()]
    # the lists of files differ in the order of the jobs
    return {str(path.relative_to(base)): path.read_bytes() for path in paths if path.name != MARKS}


def test_shards_become_one_store_and_one_folder(folder):
    names = contents(folder)
    for stage in ("cams", "refine"):
        shards = {name[-9:] for name in names if name.startswith(f"{stage}/") and "of" in name}
        assert shards == {"1-of-3.h5", "2-of-3.h5", "3-of-3.h5"}
    assert sum(name.startswith("crf/classifier/seed0/masks/train_") for name in names) == 90


@pytest.mark.parametrize("stage", ["cams", "refine", "crf"])
def test_after_kill_9_only_unfinished_shards_are_made_again(folder, snakemake, stage):
    undisturbed = contents(folder)
    shards = sorted((folder / f"results/sharded/{stage}/classifier/seed0/shards").glob("[!.]*"))
    kept = shards[0].stat().st_mtime_ns
    made_after = {
        "cams": ["cams/classifier/seed0/cams.h5", "refine", "crf"],
        "refine": ["refine/classifier/seed0/cams.h5", "crf"],
        "crf": ["crf/classifier/seed0/masks"],
    }
    for made in [*(folder / "results/sharded" / path for path in made_after[stage]), *shards[1:]]:
        shutil.rmtree(made) if made.is_dir() else made.unlink()
    killed_while_running(folder, stage)
    unfinished = [shard for shard in shards if not shard.exists()]
    assert unfinished
    text = snakemake(folder, "--cores", 1, MASKS)
    assert len(re.findall(rf"^(?:local)?rule {stage}:", text, flags=re.MULTILINE)) == len(unfinished)
    assert shards[0].stat().st_mtime_ns == kept
    assert contents(folder) == undisturbed


def killed_while_running(folder: Path, stage: str) -> None:
    """Start the workflow, and kill it with all its jobs as soon as a shard of `stage` has begun."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE_", "PYTHONPATH"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", "--cores", "1", MASKS]
    shards = folder / f"results/sharded/{stage}/classifier/seed0/shards"
    begun = subprocess.Popen(
        command, cwd=folder, env=kept | {"PATH": path}, start_new_session=True, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 200
    while time.monotonic() < until and begun.poll() is None:
        if any("partial" in found.name for found in shards.iterdir()):
            break
        time.sleep(0.001)
    assert begun.poll() is None, "the jobs ended before one of them could be killed"
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    for lock in (folder / ".snakemake/locks").glob("*"):
        lock.unlink()
