"""Run every benchmarks/bench_*.py and make one table of what they measure.

Each has `rows(inputs: Inputs) -> list[Row]`; its docstring says what is compared and goes under the table.
"""

import argparse
import tempfile
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import torch

import benchmarks
from benchmarks.frame import SPLIT, Inputs, as_json, page, photographs
from semples.files import write_text


def main() -> None:
    """Measure, print the table and write it."""
    found = sorted(module.name for module in iter_modules(benchmarks.__path__) if module.name.startswith("bench_"))
    names = [name.removeprefix("bench_") for name in found]
    given = _arguments(names)
    with tempfile.TemporaryDirectory() as scratch:
        manifest, words = photographs(given.data, Path(scratch) / "data", given.images)
        inputs = Inputs(manifest, SPLIT, Path(scratch), given.generator, given.threads, given.device, words)
        rows, notes = [], {}
        for name in given.only or names:
            print(f"== {name}", flush=True)
            module = import_module(f"benchmarks.bench_{name}")
            rows += module.rows(inputs)
            notes[name] = " ".join(module.__doc__.split())
        text = as_json(rows, inputs) if given.out.suffix == ".json" else page(rows, notes, inputs, _command(given))
    write_text(given.out, text)
    print(text)


def _command(given: argparse.Namespace) -> str:
    """What was called, with names for the local paths."""
    flags = [f"--only {' '.join(given.only)}"] if given.only else []
    flags += ["--data VOCDEVKIT"] if given.data else []
    flags += ["--generator MODEL"] if given.generator else []
    flags += [f"--images {given.images}"] if given.images else []
    return " ".join(["python -m benchmarks", *flags])


def _arguments(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, help="these alone")
    parser.add_argument("--data", type=Path, help="VOC 2012 devkit; without it the drawn world")
    parser.add_argument("--images", type=int, help="at most this many photographs")
    parser.add_argument("--generator", type=Path, help="trained vit_cam on deit_tiny_patch16_224; else random weights")
    parser.add_argument("--threads", type=int, default=2, help="threads or processes of both ways")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=Path("docs/performance.md"), help="Markdown page, or .json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
