"""The Slurm profile: what every job asks the cluster for, and that the workflow runs to its end under it.

Stand-ins take Slurm's place: `sbatch` notes its arguments and makes the outputs of the rule, `squeue` says that every
job is done. Nothing is computed.
"""

import json
import re
from pathlib import Path

import pytest
import yaml

GPU_RULES = ("classify", "slm", "cpl", "csr", "cams", "segment", "segment_masks")
GPU_JOBS = (*GPU_RULES[:5], "segmentation")  # the last two rules are a group
# rule or group: CPUs, memory in MB, minutes
ASKED = {
    "data": (3, 4000, 240),
    **dict.fromkeys(("weights", "guide"), (1, 6000, 60)),
    **dict.fromkeys(GPU_RULES[:5], (3, 12000, 60)),
    "segmentation": (3, 12000, 120),
    "evaluate_cams": (1, 4000, 240),
    "crf": (3, 8000, 60),
    "evaluate_masks": (1, 4000, 240),
    **dict.fromkeys(("results", "words"), (1, 2000, 30)),
    **dict.fromkeys(("panel", "thresholds", "training"), (1, 4000, 60)),
}
SBATCH = """#!python
import json, os, sys
from pathlib import Path

given, home = sys.argv[1:], Path(__file__).parents[1]
rule = given[given.index("--comment") + 1].removeprefix("rule_").partition("_wildcards_")[0]
rule = rule.removesuffix("_segment_segment_masks")  # Snakemake adds its rules to the name of a group
for output in map(Path, json.loads((home / "outputs.json").read_text())[rule]):
    output.parent.mkdir(parents=True, exist_ok=True)
    output.touch() if output.suffix else output.mkdir(exist_ok=True)
(home / "jobs" / str(os.getpid())).write_text(json.dumps([rule, given]))
print(os.getpid())
"""
SQUEUE = """#!python
from pathlib import Path

for job in (Path(__file__).parents[1] / "jobs").iterdir():
    print(f"{job.name}|COMPLETED")
"""
SCONTROL = """#!/bin/sh
echo "MinJobAge = 300 sec"
"""
# a site without an accounting database
SACCT = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/../sacct_calls"
exit 1
"""


@pytest.fixture(scope="module")
def outputs(workflow_folder, snakemake) -> dict[str, list[str]]:
    """rule: the files and folders that its jobs make, as the dry run lists them."""
    found: dict[str, list[str]] = {}
    rule = ""
    for line in snakemake(workflow_folder(), "--dry-run").splitlines():
        word, _, rest = line.strip().partition(": ")
        if line.startswith("rule "):
            rule = line.removeprefix("rule ").rstrip(":")
        elif word in ("output", "benchmark") and rule:
            found.setdefault(rule, []).extend(rest.split(", "))
    return found


@pytest.fixture(scope="module")
def submit(tmp_path_factory, workflow_folder, snakemake, write_program, outputs, root):
    """A function that runs the workflow for a device under a profile; it returns the stand-ins' folder."""

    def run(device: str, *arguments: object, profile: Path = root / "workflow" / "profiles" / "slurm") -> Path:
        home, folder = tmp_path_factory.mktemp("slurm"), workflow_folder(run={"device": device, "threads": 3})
        for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "scontrol": SCONTROL, "sacct": SACCT}.items():
            write_program(home / "bin" / name, text)
        (home / "jobs").mkdir()
        grouped = {"segmentation": outputs["segment"] + outputs["segment_masks"]}
        (home / "outputs.json").write_text(json.dumps(outputs | grouped))
        slurm = ("--workflow-profile", profile, "--slurm-init-seconds-before-status-checks", 1)
        snakemake(folder, *slurm, *arguments, programs=home / "bin")
        return home

    return run


@pytest.fixture(scope="module")
def with_gpu(submit) -> Path:
    return submit("cuda")


@pytest.fixture(scope="module")
def without_gpu(submit) -> Path:
    return submit("cpu")


def submitted(home: Path) -> list[tuple[str, list[str]]]:
    """(rule, arguments of sbatch) of every job."""
    return [tuple(json.loads(file.read_text())) for file in (home / "jobs").iterdir()]


def gpus(home: Path) -> dict[str, list[str]]:
    """rule: the GPU flags of its jobs."""
    found = {}
    for rule, given in submitted(home):
        found.setdefault(rule, []).extend(word for word in given if word.startswith(("--gpus", "--gres")))
    return found


def test_every_job_asks_for_its_cpus_memory_and_time(with_gpu):
    for rule, given in submitted(with_gpu):
        cpus, memory, minutes = ASKED[rule]
        assert f"--cpus-per-task={cpus}" in given, rule
        assert given[given.index("--mem") + 1] == str(memory), rule
        assert given[given.index("-t") + 1] == str(minutes), rule


def test_every_rule_is_submitted(with_gpu):
    assert {rule for rule, _ in submitted(with_gpu)} == set(ASKED)


def test_learning_and_inference_ask_for_one_gpu(with_gpu):
    assert gpus(with_gpu) == {rule: ["--gpus=1"] if rule in GPU_JOBS else [] for rule in ASKED}


def test_device_cpu_asks_for_no_gpu(without_gpu):
    assert gpus(without_gpu) == {rule: [] for rule in ASKED}


def test_a_job_alone_takes_no_more_cpus_of_a_cluster(without_gpu):
    """Locally, a job of one variant and one seed takes all cores; those of the cluster are not this machine's."""
    for rule, options in submitted(without_gpu):
        assert f"--cpus-per-task={ASKED[rule][0]}" in options, rule


def test_every_job_names_the_partition_and_may_be_requeued(with_gpu):
    for _, given in submitted(with_gpu):
        assert given[given.index("-p") + 1] == "main"
        assert "--requeue" in given


def test_status_comes_from_squeue_alone(with_gpu):
    calls = with_gpu / "sacct_calls"
    assert "--name" not in (calls.read_text() if calls.exists() else "")


def test_status_checks_start_early_enough_for_slurms_default_minjobage(root):
    profile = yaml.safe_load((root / "workflow/profiles/slurm/profile.yaml").read_text())
    assert 3 * profile["slurm-init-seconds-before-status-checks"] <= 300


def test_the_profiles_variant_for_sites_with_gres_only(submit, root, tmp_path):
    text = (root / "workflow/profiles/slurm/profile.yaml").read_text()
    comment = re.search(r"^# set-resources:\n(#   .*\n)+", text, re.MULTILINE)[0]
    variant = re.sub(r"^# ", "", comment, flags=re.MULTILINE)
    assert set(yaml.safe_load(variant)["set-resources"]) == {*GPU_RULES, "refine"}
    (tmp_path / "profile.yaml").write_text(text.replace(comment, variant))
    asked = gpus(submit("auto", "--until", "classify", profile=tmp_path))
    assert asked["classify"] == ["--gres=gpu:1"]
