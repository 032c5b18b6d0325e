"""The table of hours, memory and disk of every stage, from Snakemake's benchmark files."""

from collections import defaultdict
from pathlib import Path

import pandas as pd

from semples.data.csv_file import read_csv, write_csv
from semples.errors import SemplesError
from semples.files import MARKS, read_json_lines
from semples.planning.layout import Layout
from semples.stages.tables.formats import write

NAME = "table_9"
_ORDER = ["data", "guide", "weights", "classify", "slm", "cpl", "csr", "joint", "cams", "refine", "crf"]
_ORDER += ["segment", "segment_masks", "evaluate", "figures"]
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
    folder = Path(Layout(str(base)).benchmark("data")).parent
    files = defaultdict(list)
    for path in sorted(folder.rglob("*.tsv")):
        files[path.relative_to(folder).with_suffix("").parts[0]].append(path)
    if not files:
        raise SemplesError(folder, "no benchmark file", "those of a run", "run the workflow first")
    order = sorted(files, key=lambda stage: ([*_ORDER, stage].index(stage), stage))
    frame = pd.DataFrame([_stage(base, stage, files[stage]) for stage in order])
    total = {"stage": "all", **frame[["jobs", "hours", "disk, GB"]].sum(), "seconds": float("nan")}
    total |= frame[["memory, GB", "learner, GB"]].max().to_dict()
    frame = pd.concat([frame, pd.DataFrame([total])], ignore_index=True).astype({"jobs": int})
    write_csv(out / f"{NAME}.csv", frame, float_format="%.5g")
    cells = {c: [f"{value:.{n}f}" if value == value else "" for value in frame[c]] for c, n in _DIGITS.items()}
    write(frame.assign(**cells), out, NAME, "Cost", f"{_LEGEND}\n{note}\n")


def _stage(base: Path, stage: str, benchmarks: list[Path]) -> dict:
    options = {"sep": "\t", "na_values": ["", "-", "NA"]}
    jobs = pd.concat([read_csv(path, stage, (), ("s", "max_rss"), **options) for path in benchmarks])
    metrics = [row for path in (base / stage).glob("*/seed*/metrics.jsonl") for row in read_json_lines(path, stage)]
    memory = [row["peak_memory_mb"] for row in metrics if row.get("peak_memory_mb")]
    sizes = [path.stat().st_size for path in (base / stage).rglob("*") if path.is_file() and path.name != MARKS]
    return {
        "stage": stage,
        "jobs": len(benchmarks),
        "hours": jobs["s"].sum() / 3600,
        "seconds": jobs["s"].mean(),
        "memory, GB": jobs["max_rss"].max() / 1e3,
        "learner, GB": max(memory, default=float("nan")) / 1e3,
        "disk, GB": sum(sizes) / 1e9,
    }
