"""plan: print the jobs of a run with estimated hours, memory and disk, before anything starts."""

from collections.abc import Sequence
from importlib import import_module

import pandas as pd

from semples.config.settings import Config, Settings
from semples.errors import SemplesError
from semples.files import read_json
from semples.planning.cost import CALIBRATION, Network, Size, job_cost, known_network, size_of, stored_network
from semples.planning.graph import downloaded_weights
from semples.planning.targets import Targets
from semples.runtime.gpu_lease import visible_gpus
from semples.stages.tables.formats import markdown

STAGES = (*("guide", "classify", "slm", "cpl", "csr", "joint", "cams", "refine", "crf", "segment", "segment_masks"),)


def run(config: Config, targets: Sequence[str], device: str | None, at_once: int) -> None:
    """Print a row per rule that the workflow's `targets` need, and the totals with `at_once` jobs side by side."""
    known = ["all", "results", "tables", "figures", *config.tables]
    if unknown := set(targets) - set(known):
        raise SemplesError("plan", f"target {sorted(unknown)[0]!r}", f"one of {known}", "correct the target")
    kind = device_of(device or config.run.device)
    print(f"{', '.join(targets)}: preset {config.preset}, seeds {', '.join(map(str, config.seeds))}\n")
    show(config, size_of(config), kind, targets, at_once)
    print(f"Speed from: {read_json(CALIBRATION, 'plan')['from'][kind]}.")


def show(config: Config, size: Size, kind: str, targets: Sequence[str] = ("all",), at_once: int = 1) -> None:
    """Print the jobs of `targets` on the device `kind`, `cpu` or `cuda`, with hours, memory, disk and the totals."""
    jobs = Targets(config).jobs(targets)
    frame = estimate(config, size, kind, targets).set_index("stage")
    frame = frame.reindex([*frame.index, *(stage for stage in jobs if stage not in frame.index)])
    frame["jobs"] = pd.Series({stage: len(stage_jobs) for stage, stage_jobs in jobs.items()})
    shown = frame.reset_index(names="rule").replace({"rule": {"evaluate": "evaluate_cams"}})
    for column, digits in {"hours": 2, "GPU GB": 1, "disk GB": 2}.items():
        shown[column] = [f"{value:.{digits}f}" if value == value else "" for value in shown[column]]
    hours = frame["hours"].sum()
    print(markdown(shown))
    print(f"{frame['jobs'].sum()} jobs before tables and figures. Snakemake skips those whose results exist.")
    print(f"About {duration(hours)} of jobs on {kind}, {duration(hours / at_once)} with {at_once} at a time;", end=" ")
    print(f"{frame['disk GB'].sum():.1f} GB of disk. An estimate, not a measurement; jobs without hours take minutes.")
    print(f"For {size.train} training and {size.val} validation images of {size.pixels:.0f} pixels.")


def duration(hours: float) -> str:
    """Return hours as text, in minutes below one hour."""
    minutes = max(1, round(60 * hours))
    return f"{hours:.1f} hours" if hours >= 1 else f"{minutes} minute{'s' * (minutes > 1)}"


def estimate(config: Config, size: Size, device: str, targets: Sequence[str] = ("all",)) -> pd.DataFrame:
    """Return a row per stage: stage, jobs, hours of its jobs one after another, GPU GB of the largest job, disk GB.

    An output that variants share counts once. `device` is `cpu` or `cuda`; `targets` are those of Targets.jobs.
    """
    planned = Targets(config)
    jobs, rows = planned.jobs(targets), []
    if sources := {job.variant for job in jobs["weights"]}:
        kinds, runs = {"classify": "generator", "segment": "segmenter", "refine": "sam"}, planned.graph.runs.values()
        user = {downloaded_weights(stage, run): (kinds[stage], run) for stage in kinds for run in runs}
        sizes = [4e-3 * network_of(*user[source], size.classes).parameters for source in sources]
        speed = read_json(CALIBRATION, "plan")
        seconds = len(sizes) * speed["start_seconds"] + sum(sizes) / speed["download_gb_per_second"]
        rows.append(["weights", len(sizes), seconds / 3600, 0.0, sum(sizes)])
    for stage in filter(jobs.get, STAGES):
        settings = [planned.graph.runs[job.variant] for job in jobs[stage]]
        hours, memory, disk = zip(*(job_cost(stage, run, size, device, network_of) for run in settings), strict=True)
        rows.append([stage, len(settings), sum(hours), max(memory), sum(disk)])
    return pd.DataFrame(rows, columns=["stage", "jobs", "hours", "GPU GB", "disk GB"])


def device_of(name: str) -> str:
    """Return the device that `run.device` means here, without PyTorch, which takes seconds to import."""
    return name if name != "auto" else "cuda" if visible_gpus() else "cpu"


def network_of(kind: str, settings: Settings, classes: int) -> Network:
    """Return the stored counts of a network; one that is not stored is built and counted by PyTorch, but for SAM."""
    stored = known_network(kind, settings) if kind == "sam" else stored_network(kind, settings)
    return stored or import_module("semples.planning.network_counts").count_network(kind, settings, classes)
