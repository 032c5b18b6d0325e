"""plan: print the jobs of a run with estimated hours, memory and disk, before anything starts."""

from collections.abc import Sequence

import pandas as pd
import torch

from semples.config.settings import Config
from semples.errors import SemplesError
from semples.files import read_json
from semples.planning.cost import CALIBRATION, size_of
from semples.planning.network_counts import estimate
from semples.planning.targets import Targets
from semples.stages.tables.formats import markdown


def run(config: Config, targets: Sequence[str], device: str | None, at_once: int) -> None:
    """Print a row per rule that the workflow's `targets` need, and the totals with `at_once` jobs side by side."""
    known = ["all", "results", "tables", "figures", *config.tables]
    if unknown := set(targets) - set(known):
        raise SemplesError("plan", f"target {sorted(unknown)[0]!r}", f"one of {known}", "correct the target")
    device = device or config.run.device
    kind = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    jobs = Targets(config).jobs(targets)
    size = size_of(config)
    frame = estimate(config, size, kind, targets).set_index("stage")
    frame = frame.reindex([*frame.index, *(stage for stage in jobs if stage not in frame.index)])
    frame["jobs"] = pd.Series({stage: len(stage_jobs) for stage, stage_jobs in jobs.items()})
    shown = frame.reset_index(names="rule").replace({"rule": {"evaluate": "evaluate_cams"}})
    for column, digits in {"hours": 2, "GPU GB": 1, "disk GB": 2}.items():
        shown[column] = [f"{value:.{digits}f}" if value == value else "" for value in shown[column]]
    hours = frame["hours"].sum()
    print(f"{', '.join(targets)}: preset {config.preset}, seeds {', '.join(map(str, config.seeds))}\n")
    print(markdown(shown))
    print(f"{frame['jobs'].sum()} jobs before tables and figures. Snakemake skips those whose results exist.")
    print(f"About {hours:.1f} hours of jobs on {kind}, {hours / at_once:.1f} with {at_once} at a time;", end=" ")
    print(f"{frame['disk GB'].sum():.1f} GB of disk. An estimate, not a measurement; jobs without hours take minutes.")
    print(f"For {size.train} training and {size.val} validation images of {size.pixels:.0f} pixels.")
    print(f"Speed from: {read_json(CALIBRATION, 'plan')['from'][kind]}.")
