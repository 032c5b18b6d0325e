"""A real Slurm: the miniature in two shards with GPU requests, stages that share a job, and training that is cancelled
or preempted.

Run by `make cluster-test`. Needs a Slurm that answers, whose nodes see this folder and the temporary one, with a GPU (a
counted one will do: training runs on whatever is there). The partition is `main`, or what SEMPLES_PARTITION names; the
test of preemption also needs one named `low` whose jobs `main` preempts and requeues.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
PARTITION = os.environ.get("SEMPLES_PARTITION", "main")
PATIENCE_S = 900
WHOLE = {
    "preset": "mini",
    "name": "tiny",
    "run": {"device": "auto", "threads": 1, "shards": 2},
    "data": {"scenes": {"train": 12, "val": 4}},
    **{stage: {"epochs": 1} for stage in ("classify", "slm", "cpl", "csr")},
    "segment": {"epochs": 1, "encoder": "tu-resnet10t", "decoder_channels": 16},
    "figures": {"images": 2},
    "experiments": {"csr-manual": None, "classifier": None, "slm": None},
}
LONG = {
    "preset": "mini",
    "name": "long",
    "run": {"device": "auto", "threads": 1},
    "data": {"scenes": {"train": 48, "val": 2}},
    "classify": {"epochs": 40, "batch": 16},
    "experiments": {"csr-manual": None, "slm": None, "csr-learned": None},
}
TRAINED = Path("results/long/classify/classifier/seed0")


def ask(*words: object) -> str:
    """What a command of Slurm prints."""
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=30, check=True).stdout


@pytest.fixture(scope="module", autouse=True)
def gpus() -> int:
    """GPUs of the partition; skips where no Slurm answers."""
    try:
        nodes = ask("sinfo", "-h", "-p", PARTITION, "-o", "%D %G")
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no Slurm answers here (`sinfo`)")
    counts = [int(n) * int(g) for n, g in re.findall(r"^(\d+) .*?gpu:(?:\w+:)?(\d+)", nodes, re.MULTILINE)]
    if not counts:
        pytest.skip(f"partition {PARTITION!r} of this Slurm has no GPU")
    return sum(counts)


def jobs() -> list[dict[str, str]]:
    """All jobs that Slurm knows of, as `scontrol` tells of them."""
    lines = ask("scontrol", "--oneliner", "show", "job").splitlines()
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines if "JobId=" in line]


def gpus_in_use() -> int:
    """GPUs that running jobs asked for."""
    asked = [
        re.search(r"gpu:(?:\w+:)?(\d+)", job.get("TresPerJob", "")) for job in jobs() if job["JobState"] == "RUNNING"
    ]
    return sum(int(found[1]) for found in asked if found)


class Workflow:
    """Snakemake in a folder, in the background."""

    def __init__(self, folder: Path, config: dict, *arguments: object) -> None:
        self.folder = folder
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE_", "SLURM_", "PYTHONPATH"))}
        kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", *arguments]
        self.said = open(folder / "snakemake.log", "a+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            [str(w) for w in command], cwd=folder, env=kept, stdout=self.said, stderr=self.said
        )

    def wait(self) -> str:
        """All that was said; an error if Snakemake failed."""
        try:
            code = self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
        text = (self.folder / "snakemake.log").read_text(encoding="utf-8")
        assert code == 0, text[-5000:]
        return text


def on_slurm(folder: Path, config: dict, *targets: object, partition: str = PARTITION, options: tuple = ()) -> Workflow:
    """The workflow under the profile of this repository."""
    profile = ("--workflow-profile", ROOT / "workflow/profiles/slurm", "--slurm-init-seconds-before-status-checks", 5)
    resources = ("--default-resources", f"slurm_partition={partition}")
    return Workflow(folder, config, *profile, *options, *resources, "--", *targets)


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.5)


def test_two_shards_finish_with_no_more_gpu_jobs_than_gpus(tmp_path, gpus):
    seen, finished = [0], threading.Event()

    def watch() -> None:
        while not finished.wait(0.5):
            seen.append(gpus_in_use())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        said = on_slurm(tmp_path, WHOLE).wait()
    finally:
        finished.set()
        watcher.join()
    assert "100%" in said
    assert 1 <= max(seen) <= gpus
    assert len(list((tmp_path / "results/tiny/cams/csr-learned/seed0/shards").glob("*.h5"))) == 2
    assert (tmp_path / "results/tiny/tables/results.md").read_text().count("| csr-learned ") == 1


def test_learning_stages_in_one_job_learn_the_same(tmp_path):
    trained = Path("results/tiny/csr/csr-learned/seed0/model.safetensors")
    folders = [tmp_path / name for name in ("grouped", "alone")]
    for folder in folders:
        folder.mkdir()
    together = ("--groups", *(f"{stage}=learning" for stage in ("classify", "slm", "cpl", "csr")))
    on_slurm(folders[0], WHOLE, trained, options=together).wait()
    submitted = [job["Comment"] for job in jobs() if job["WorkDir"] == str(folders[0])]
    assert sorted(submitted) == ["rule_data", "rule_guide_wildcards_csr-learned", "rule_learning_classify_cpl_csr_slm"]
    Workflow(folders[1], WHOLE, "--cores", 1, "--", trained).wait()
    grouped, alone = (load_file(folder / trained) for folder in folders)
    assert all(map(torch.equal, grouped.values(), alone.values()))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """A folder in which the long training ran to its end, on this machine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    Workflow(folder, LONG, "--cores", 1, "--", TRAINED / "model.safetensors").wait()
    return folder


def metrics(folder: Path) -> list[dict]:
    """The lines of the training's metrics, without what depends on the machine's mood."""
    path = folder / TRAINED / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("images_per_s", "peak_memory_mb")} for row in rows]


def training_job(folder: Path) -> str:
    """Wait until the training has done a few epochs; the id of its Slurm job."""
    running = folder / TRAINED / "checkpoints/metrics.jsonl"
    until(lambda: running.exists() and len(running.read_text().splitlines()) >= 3, "three epochs")
    found = [job["JobId"] for job in jobs() if job["JobState"] == "RUNNING" and job["WorkDir"] == str(folder)]
    assert len(found) == 1
    return found[0]


def resumed_at(folder: Path) -> int:
    """The step at which the training's log says that it was taken up."""
    log = (folder / "results/long/logs/classify/classifier.seed0.log").read_text()
    return int(re.search(r"resuming after epoch \d+ of 40, at step (\d+) of 120", log)[1])


@pytest.fixture
def prepared(tmp_path, undisturbed) -> Path:
    """A folder with the data of the long training."""
    shutil.copytree(undisturbed, tmp_path / "run", ignore=shutil.ignore_patterns("classify*", "*.log"), symlinks=True)
    return tmp_path / "run"


def test_a_cancelled_job_resumes(prepared, undisturbed):
    workflow = on_slurm(prepared, LONG, TRAINED / "model.safetensors")
    ask("scancel", training_job(prepared))
    workflow.wait()  # the profile submits a failed job once more
    assert resumed_at(prepared) >= 9
    assert metrics(prepared) == metrics(undisturbed)


def test_a_preempted_job_is_requeued_and_resumes(prepared, undisturbed):
    if PARTITION != "main" or "low" not in ask("sinfo", "-h", "-o", "%P").split():
        pytest.skip("no partition `low` that `main` preempts")
    workflow = on_slurm(prepared, LONG, TRAINED / "model.safetensors", partition="low")
    job = training_job(prepared)
    ask("sbatch", "--parsable", "-p", "main", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 5")
    workflow.wait()
    (same,) = [found for found in jobs() if found["JobId"] == job]
    assert int(same["Restarts"]) >= 1
    assert resumed_at(prepared) >= 9
    assert metrics(prepared) == metrics(undisturbed)
