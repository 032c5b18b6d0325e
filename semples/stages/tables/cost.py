"""The table of hours, memory and disk of every stage, from Snakemake's benchmark files."""

from pathlib import Path

import pandas as pd

from semples.errors import SemplesError
from semples.files import MARKS, write_text
from semples.stages.tables.formats import write

NAME = "table_9"
_ORDER = [
    *("data", "guide", "weights", "classify", "slm", "cpl", "csr", "joint", "cams", "crf"),
    *("segment", "segment_masks", "evaluate", "figures"),
]
_DIGITS = {"hours": 3, "seconds": 1, "memory, GB": 2, "learner, GB": 2, "disk, GB": 3}
_LEGEND = (
    "Every job whose benchmark file lies in the run's folder. Hours: of all jobs one after the other; seconds: mean of"
    " a job; memory: largest resident set of a job's process, in GB; learner: largest that a training loop reports, on"
    " a GPU the memory it took there, in GB; disk: present size of the stage's folder, in GB."
)


def run(base: Path, note: str, out: Path) -> None:
    """Write `out`/table_9.csv, .md, .tex and .html: a row per stage, and their sum.

    Args:
        base: Folder of the run, results/<name>.
        note: Text below the table.
    """
    stages = sorted(path for path in (base / "benchmarks").iterdir() if path.is_dir() or path.suffix == ".tsv")
    if not stages:
        raise SemplesError(base / "benchmarks", "no benchmark file", "those of a run", "run the workflow first")
    frame = pd.DataFrame([_stage(base, path) for path in stages])
    frame = frame.sort_values("stage", key=lambda names: names.map(_position), kind="stable")
    total = {"stage": "all", **frame[["jobs", "hours", "disk, GB"]].sum(), "seconds": float("nan")}
    total |= frame[["memory, GB", "learner, GB"]].max().to_dict()
    frame = pd.concat([frame, pd.DataFrame([total])], ignore_index=True).astype({"jobs": int})
    write_text(out / f"{NAME}.csv", frame.to_csv(index=False, float_format="%.5g"))
    cells = {c: [f"{value:.{n}f}" if value == value else "" for value in frame[c]] for c, n in _DIGITS.items()}
    write(frame.assign(**cells), out, NAME, "Cost", f"{_LEGEND}\n{note}\n")


def _stage(base: Path, benchmark: Path) -> dict:
    """Return the row of a stage, whose benchmark is a file or a folder of files."""
    stage = benchmark.stem
    files = sorted(benchmark.rglob("*.tsv")) if benchmark.is_dir() else [benchmark]
    jobs = pd.concat([pd.read_csv(path, sep="\t", na_values="-") for path in files])
    metrics = [path for path in (base / stage).glob("*/seed*/metrics.jsonl") if path.stat().st_size]
    memory = [pd.read_json(path, lines=True)["peak_memory_mb"].max() / 1e3 for path in metrics]
    outputs = [path for path in (base / stage).rglob("*") if path.is_file() and path.name != MARKS]
    return {
        "stage": stage,
        "jobs": len(files),
        "hours": jobs["s"].sum() / 3600,
        "seconds": jobs["s"].mean(),
        "memory, GB": jobs["max_rss"].max() / 1e3,
        "learner, GB": max(memory, default=float("nan")),
        "disk, GB": sum(path.stat().st_size for path in outputs) / 1e9,
    }


def _position(stage: str) -> int:
    return _ORDER.index(stage) if stage in _ORDER else len(_ORDER)
