"""plan: print the jobs of a run with estimated time, memory and disk, before anything starts."""

import os
from collections.abc import Sequence
from functools import cache
from importlib import import_module

import pandas as pd

from semples.config.settings import Config, Settings
from semples.errors import SemplesError
from semples.planning.cost import Cost, Network, Size, job_cost, known_network, size_of, stored_network, work
from semples.planning.graph import downloaded_weights
from semples.planning.speed import keep_speed, speed_here
from semples.planning.targets import Targets
from semples.runtime.gpu_lease import lease_gpus, visible_gpus
from semples.stages.tables.formats import markdown

STAGES = (
    *("data", "guide", "classify", "slm", "cpl", "csr", "joint", "cams", "refine", "crf", "segment", "segment_masks"),
)
MEASURED = ("classify", "slm", "cpl", "csr", "segment", "cams", "segment_masks", "guide", "joint")  # in this order
SHORT = 2.0  # hours of a run that is told in minutes
COUNTED = "GPU GB are counted from the networks' layers; disk GB assume that files compress as photographs do."


def run(
    config: Config, targets: Sequence[str], device: str | None, at_once: int = 1, calibrate: int | None = None
) -> None:
    """Print a row per rule that the workflow's `targets` need, and the totals with `at_once` jobs side by side.

    With `calibrate` the speed of this machine is measured first, for so many seconds, and kept for later plans.
    """
    known = ["all", "results", "tables", "figures", *config.tables]
    if unknown := set(targets) - set(known):
        raise SemplesError("plan", f"target {sorted(unknown)[0]!r}", f"one of {known}", "correct the target")
    plan = Plan(config, size_of(config), device_of(device or config.run.device), targets, at_once)
    if calibrate:
        plan.calibrate(calibrate)
    print(f"{', '.join(targets)}: preset {config.preset}, seeds {', '.join(map(str, config.seeds))}\n")
    plan.show()


def duration(hours: float) -> str:
    """Return hours as text, in minutes below two hours."""
    return f"{hours:.1f} hours" if hours >= SHORT else f"{60 * hours:.1f} minutes"


class Plan:
    """The jobs that `targets` need, and their cost on a device with `at_once` jobs side by side; mps counts as cpu."""

    def __init__(
        self, config: Config, size: Size, device: str, targets: Sequence[str] = ("all",), at_once: int = 1
    ) -> None:
        self.device, self.size, self.at_once = device, size, at_once
        self.speed = speed_here("cuda" if device == "cuda" else "cpu")
        self._targets, self._on_cpu, threads = Targets(config), device == "cpu", config.run.threads
        self._least_threads = min(threads, os.cpu_count() or 1) if self._on_cpu else threads
        self.jobs = dict(self._targets.jobs(targets))
        self._chain = cache(self._hours_until)

    def rows(self) -> pd.DataFrame:
        """Return a row per stage: stage, jobs, hours of its jobs one after another, speed, GPU GB of the largest job,
        disk GB. The speed is "measured" or "assumed". An output that variants share counts once."""
        rows: list[list] = self._weights()
        for stage in filter(self.jobs.get, STAGES):
            hours, memory, disk, measured = zip(*(self._cost(stage, j.variant) for j in self.jobs[stage]), strict=True)
            speed = "measured" if all(measured) else "partly measured" if any(measured) else "assumed"
            rows.append([stage, len(hours), sum(hours), speed, max(memory), sum(disk)])
        return pd.DataFrame(rows, columns=["stage", "jobs", "hours", "speed", "GPU GB", "disk GB"])

    def show(self) -> None:
        """Print the jobs with their time, memory and disk, the totals, and where the speeds come from."""
        frame = self.rows().set_index("stage")
        frame = frame.reindex([*frame.index, *(stage for stage in self.jobs if stage not in frame.index)])
        frame["jobs"] = pd.Series({stage: len(stage_jobs) for stage, stage_jobs in self.jobs.items()})
        shown = frame.reset_index(names="rule").replace({"rule": {"evaluate": "evaluate_cams"}})
        hours, size = frame["hours"].sum(), self.size
        unit, factor = ("hours", 1) if hours >= SHORT else ("minutes", 60)
        shown = shown.assign(hours=factor * shown["hours"]).rename(columns={"hours": unit})
        for column, digits in {unit: 2, "GPU GB": 1, "disk GB": 2}.items():
            shown[column] = [f"{value:.{digits}f}" if value == value else "" for value in shown[column]]
        print(markdown(shown.fillna("")))
        print(f"{frame['jobs'].sum()} jobs before tables and figures. Snakemake skips those whose results exist.")
        print(f"About {duration(hours)} of jobs on {self.device}, {duration(self.hours())}", end=" ")
        print(f"with {self.at_once} at a time; {frame['disk GB'].sum():.1f} GB of disk. An estimate;", end=" ")
        print(f"jobs without {unit} take {'minutes' if unit == 'hours' else 'seconds'}.")
        print(f"For {size.train} training and {size.val} validation images of {size.pixels:.0f} pixels.")
        print(f"Speed: {self.speed.source()}. {COUNTED}")

    def hours(self) -> float:
        """Return the hours of the run: its longest chain of jobs, or all jobs shared by `at_once`, if that is more."""
        jobs = [(stage, job.variant) for stage in STAGES for job in self.jobs.get(stage, ())]
        shared = [self._cost(*job).hours * self._threads(*job) / self._least_threads for job in jobs]
        return max(sum(shared) / self.at_once, *(self._chain(*job) for job in jobs))

    def calibrate(self, budget: int) -> None:
        """Measure this machine's speed for the networks of every stage in `budget` seconds; keep it for later plans."""
        lease_gpus(self.speed.device, 1)
        variants = [(stage, sorted({job.variant for job in self.jobs.get(stage, ())})) for stage in MEASURED]
        ranked = [(rank, stage, name) for stage, names in variants for rank, name in enumerate(names)]
        ranked.sort(key=lambda row: row[0])
        jobs = [(stage, self._settings(stage, name)) for _, stage, name in ranked]
        jobs = [(stage, settings) for stage, settings in jobs if work(stage, settings, self.size, network_of)[0]]
        measure = import_module("semples.planning.calibrate").measure
        device = self.speed.device
        keep_speed(device, measure(self._targets.config, jobs, self.size, device, network_of, budget))
        self.speed = speed_here(device)

    def _cost(self, stage: str, name: str) -> Cost:
        return job_cost(stage, self._settings(stage, name), self.size, self.speed, network_of)

    def _hours_until(self, stage: str, name: str) -> float:
        """Return the hours of a job and of the longest chain of jobs before it."""
        hours = self._cost(stage, name).hours if stage in STAGES else 0.0
        return hours + max((self._chain(*job) for job in self._targets.graph.before(stage, name)), default=0.0)

    def _settings(self, stage: str, name: str) -> Settings:
        """Return the settings of a stage's job for a variant, with its threads on this machine."""
        settings = self._targets.graph.runs[name]
        run = settings.run.model_copy(update={"threads": self._threads(stage, name)})
        return settings.model_copy(update={"run": run})

    def _threads(self, stage: str, name: str) -> int:
        least = self._least_threads
        return max(least, self._targets.threads(stage, name, self.at_once * least)) if self._on_cpu else least

    def _weights(self) -> list[list]:
        """Return the row of the downloads of weights, if there are any."""
        if not (sources := {job.variant for job in self.jobs.get("weights", ())}):
            return []
        kinds = {"classify": "generator", "segment": "segmenter", "refine": "sam"}
        runs = self._targets.graph.runs.values()
        user = {downloaded_weights(stage, run): (kinds[stage], run) for stage in kinds for run in runs}
        sizes = [4e-3 * network_of(*user[source], self.size.classes).parameters for source in sources]
        starts = len(sizes) * self.speed.value("start_seconds")
        seconds = starts + sum(sizes) / self.speed.value("download_gb_per_second")
        return [["weights", len(sizes), seconds / 3600, "assumed", 0.0, sum(sizes)]]


def device_of(name: str) -> str:
    """Return the device that `run.device` means here, without PyTorch, which takes seconds to import."""
    return name if name != "auto" else "cuda" if visible_gpus() else "cpu"


def network_of(kind: str, settings: Settings, classes: int) -> Network:
    """Return the stored counts of a network; one that is not stored is built and counted by PyTorch, but for SAM."""
    stored = known_network(kind, settings) if kind == "sam" else stored_network(kind, settings)
    return stored or import_module("semples.planning.network_counts").count_network(kind, settings, classes)
