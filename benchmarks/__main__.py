"""Run every benchmarks/bench_*.py and make one table of what they measure.

Each module has `rows(inputs: Inputs) -> list[Row]`. Its docstring states what is compared and stands below the table.
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
    """Measure, then print and write the table."""
    modules = sorted(module.name for module in iter_modules(benchmarks.__path__) if module.name.startswith("bench_"))
    names = [name.removeprefix("bench_") for name in modules]
    args = _arguments(names)
    with tempfile.TemporaryDirectory() as scratch:
        manifest, words = photographs(args.data, Path(scratch) / "data", args.images)
        inputs = Inputs(manifest, SPLIT, Path(scratch), args.generator, args.threads, args.device, words)
        rows, notes = [], {}
        for name in args.only or names:
            print(f"== {name}", flush=True)
            module = import_module(f"benchmarks.bench_{name}")
            rows += module.rows(inputs)
            notes[name] = " ".join(module.__doc__.split())
        text = as_json(rows, inputs) if args.out.suffix == ".json" else page(rows, notes, inputs, _command(args))
    write_text(args.out, text)
    print(text)


def _command(args: argparse.Namespace) -> str:
    """Return the command line, with names for the local paths."""
    flags = [f"--only {' '.join(args.only)}"] if args.only else []
    flags += ["--data VOCDEVKIT"] if args.data else []
    flags += ["--generator MODEL"] if args.generator else []
    flags += [f"--images {args.images}"] if args.images else []
    return " ".join(["python -m benchmarks", *flags])


def _arguments(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, help="these alone")
    parser.add_argument("--data", type=Path, help="VOC 2012 devkit; without it the drawn world")
    parser.add_argument("--images", type=int, default=100, help="at most this many photographs; default: 100")
    parser.add_argument("--generator", type=Path, help="trained vit_cam on deit_tiny_patch16_224; else random weights")
    parser.add_argument("--threads", type=int, default=2, help="threads or processes of both ways")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=Path("performance.md"), help="Markdown page, or .json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
