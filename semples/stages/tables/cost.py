"""What a run took: hours, memory and disk of every stage, from Snakemake's benchmark files."""

from pathlib import Path

import pandas as pd

from semples.errors import SemplesError
from semples.files import MARKS, atomic_path
from semples.stages.tables.formats import write

TITLE = "Cost"
NAME = "table_9"
ORDER = [
    *("data", "guide", "weights", "classify", "slm", "cpl", "csr", "joint", "cams", "crf"),
    *("segment", "segment_masks", "evaluate", "figures"),
]
LEGEND = (
    "Every job whose benchmark file lies in the run's folder. Hours: of all jobs one after the other; seconds: mean of"
    " a job; memory: largest resident set of a job's process, in GB; learner: largest that a training loop reports, on"
    " a GPU the memory it took there, in GB; disk: what the stage's folder holds now, in GB."
)


def run(base: Path, note: str, out: Path) -> None:
    """Write `out`/table_9.csv, .md, .tex and .html for the run in the folder `base`, results/<name>; `note` goes below.

    A line a stage, and their sum.
    """
    stages = sorted(path for path in (base / "benchmarks").iterdir() if path.is_dir() or path.suffix == ".tsv")
    lines = [_line(base, path) for path in stages]
    if not lines:
        raise SemplesError(base / "benchmarks", "no benchmark file", "those of a run", "run the workflow first")
    frame = pd.DataFrame(lines).sort_values("stage", key=lambda names: names.map(_place), kind="stable")
    total = {"stage": "all", **frame[["jobs", "hours", "disk, GB"]].sum(), "seconds": float("nan")}
    total |= frame[["memory, GB", "learner, GB"]].max().to_dict()
    frame = pd.concat([frame, pd.DataFrame([total])], ignore_index=True)[list(frame.columns)]
    frame["jobs"] = frame["jobs"].astype(int)
    with atomic_path(out / f"{NAME}.csv") as partial:
        frame.to_csv(partial, index=False, float_format="%.5g")
    shown = frame.copy()
    for column, digits in {"hours": 3, "seconds": 1, "memory, GB": 2, "learner, GB": 2, "disk, GB": 3}.items():
        shown[column] = [f"{value:.{digits}f}" if value == value else "" for value in frame[column]]
    write(shown, out, NAME, TITLE, f"{LEGEND}\n{note}\n")


def _line(base: Path, benchmark: Path) -> dict:
    """The jobs of one stage, whose benchmark is a file or a folder of files."""
    stage = benchmark.stem
    files = sorted(benchmark.rglob("*.tsv")) if benchmark.is_dir() else [benchmark]
    jobs = pd.concat([pd.read_csv(path, sep="\t", na_values="-") for path in files])
    held = [path.stat().st_size for path in (base / stage).rglob("*") if path.is_file() and path.name != MARKS]
    return {
        "stage": stage,
        "jobs": len(files),
        "hours": jobs["s"].sum() / 3600,
        "seconds": jobs["s"].mean(),
        "memory, GB": jobs["max_rss"].max() / 1e3,
        "learner, GB": _learner_memory(base / stage),
        "disk, GB": sum(held) / 1e9,
    }


def _learner_memory(folder: Path) -> float:
    """The largest that the stage's training loops report in GB; NaN for a stage that trains nothing."""
    found = [pd.read_json(path, lines=True) for path in folder.glob("*/seed*/metrics.jsonl") if path.stat().st_size]
    return max((table["peak_memory_mb"].max() / 1e3 for table in found), default=float("nan"))


def _place(stage: str) -> int:
    return ORDER.index(stage) if stage in ORDER else len(ORDER)
