"""The `semples` command: one subcommand a stage, as the workflow's rules call it."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import yaml

from semples import __version__, config, published
from semples.errors import SemplesError
from semples.settings import Config, Run, Settings

PATHS = {
    "manifest": "manifest.csv that `semples data` wrote",
    "guide": "folder that `semples guide` wrote",
    "classes": "classes.csv beside the manifest",
    "start": "model.safetensors to start from",
    "generator": "model.safetensors of the mask generator",
    "prompts": "prompts.safetensors that `semples cpl` wrote",
    "cams": "HDF5 file that `semples cams` wrote",
    "evaluation": "JSON that `semples evaluate --cams` wrote",
    "masks": "folder of mask PNGs named <id>.png",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        given.call(given)
    except SemplesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="semples", description=__doc__)
    parser.add_argument("--version", action="version", version=f"semples {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="STAGE")
    _stage(commands, "download", "VOC 2012 or COCO 2014 from the web")
    _data(commands)
    _stage(commands, "guide", "the frozen image-text model and its text embeddings", "classes", "manifest?")
    for name, help_text, *paths in LEARNING:
        _stage(commands, name, help_text, *paths, seed=True)
    _stage(commands, "cams", "maps of whole images into one HDF5 file", "manifest", "generator", split=True)
    _stage(commands, "crf", "CAMs become palette PNG pseudo masks", "manifest", "cams", "evaluation?")
    _evaluate(commands)
    _tables(commands)
    _figures(commands)
    _heatmap(commands)
    _config(commands)
    return parser


LEARNING = (
    ("classify", "classifier whose maps everything starts from", "manifest"),
    ("slm", "segment-label matching", "manifest", "guide", "start"),
    ("cpl", "contrastive prompt learning", "manifest", "guide", "generator?"),
    ("csr", "class-associated semantic refinement", "manifest", "guide", "start", "prompts"),
    ("joint", "prompts and generator together", "manifest", "guide", "start"),
    ("segment", "segmentation network trained on pseudo masks", "manifest", "masks"),
)


def _common(commands, name: str, help_text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.add_argument("--config", default="config.yaml", help="YAML file, or settings as JSON text")
    run = os.environ.get("SEMPLES_RUN", "{}")
    command.add_argument("--run", default=run, help="settings of `run` as JSON text; default: $SEMPLES_RUN")
    command.add_argument("--threads", type=int, help="CPU threads or processes, instead of `run.threads`")
    command.add_argument("--out", type=Path, required=True, help="what to write")
    return command


def _stage(commands, name: str, help_text: str, *paths: str, seed: bool = False, split: bool = False) -> None:
    """A subcommand that calls `run(settings, ...)` of the module semples.stages.<name> with its flags by name.

    A path that ends in "?" may be left out, or stand there without a value.
    """
    command = _common(commands, name, help_text)
    optional = {path.removesuffix("?") for path in paths if path.endswith("?")}
    paths = tuple(path.removesuffix("?") for path in paths)
    for path in paths:
        may_lack = path in optional
        nargs = "?" if may_lack else None
        command.add_argument(f"--{path}", type=Path, required=not may_lack, nargs=nargs, help=PATHS[path])
    if seed:
        command.add_argument("--seed", type=int, default=0, help="seed of everything random")
    if split:
        command.add_argument("--split", required=True, help="split of the manifest")
    names = [*paths, *(["seed"] if seed else []), *(["split"] if split else [])]

    def call(given: argparse.Namespace) -> None:
        # imported here: `semples tables` should not wait for torch
        module = import_module(f"semples.stages.{name}")
        renamed = {("classes_file" if key == "classes" else key): getattr(given, key) for key in names}
        module.run(_settings(given), out=given.out, **renamed)

    command.set_defaults(call=call)


def _settings(given: argparse.Namespace) -> Settings:
    settings = config.read(given.config)
    over = json.loads(given.run) | ({"threads": given.threads} if given.threads else {})
    settings.run = config.check(Run, config.merge(settings.run.model_dump(), over), "--run")
    return settings


def _data(commands) -> None:
    command = _common(commands, "data", "a data set becomes a manifest; `data check` looks at it before any training")
    command.add_argument("what", nargs="?", choices=["check"], help="report on the data set instead")

    def call(given: argparse.Namespace) -> None:
        if given.what == "check":
            from semples.stages import check

            check.run(_settings(given), given.out)
        else:
            from semples.stages import data

            data.run(_settings(given), given.out)

    command.set_defaults(call=call)


def _evaluate(commands) -> None:
    command = _common(commands, "evaluate", "CAMs or masks against true masks")
    command.add_argument("--manifest", type=Path, required=True, help=PATHS["manifest"])
    command.add_argument("--split", required=True, help="split of the manifest")
    judged = command.add_mutually_exclusive_group(required=True)
    judged.add_argument("--cams", type=Path, help=PATHS["cams"])
    judged.add_argument("--masks", type=Path, help=PATHS["masks"])
    command.add_argument("--kind", choices=("crf", "segment"), default="crf", help="stage that made the masks")

    def call(given: argparse.Namespace) -> None:
        from semples.stages import evaluate

        settings = _settings(given)
        if given.cams:
            evaluate.run_cams(settings, given.manifest, given.split, given.cams, given.out)
        else:
            evaluate.run_masks(given.manifest, given.split, given.masks, given.kind, given.out)

    command.set_defaults(call=call)


def _tables(commands) -> None:
    command = _common(commands, "tables", "evaluations as CSV and Markdown")
    _named(command, "--evaluation", "VARIANT:SEED=JSON of one evaluation")
    _named(command, "--words", "VARIANT:SEED=words.csv of one cpl run")
    command.add_argument("--note", default="", help="what the numbers hold for")

    def call(given: argparse.Namespace) -> None:
        from semples.stages import tables

        tables.run(map(_run_of, given.evaluation), map(_run_of, given.words), given.note, given.out)

    command.set_defaults(call=call)


def _figures(commands) -> None:
    command = _common(commands, "figures", "panels and curves as PNG")
    drawn = command.add_mutually_exclusive_group(required=True)
    drawn.add_argument("--panel", action="store_true", help="pictures, CAMs and masks of some images")
    drawn.add_argument("--thresholds", action="store_true", help="mIoU over the background threshold")
    drawn.add_argument("--training", action="store_true", help="loss over epochs")
    command.add_argument("--manifest", type=Path, help=PATHS["manifest"])
    command.add_argument("--split", help="split of the manifest")
    _named(command, "--cams", "TITLE=HDF5 file")
    _named(command, "--masks", "TITLE=folder of masks")
    _named(command, "--evaluation", "TITLE=JSON of an evaluation of CAMs")
    _named(command, "--metrics", "TITLE=metrics.jsonl")

    def call(given: argparse.Namespace) -> None:
        from semples.stages import figures

        if given.panel:
            figures.run_panel(_settings(given), given.manifest, given.split, given.cams, given.masks, given.out)
        elif given.thresholds:
            figures.run_thresholds(given.evaluation, given.out)
        else:
            figures.run_training(given.metrics, given.out)

    command.set_defaults(call=call)


def _heatmap(commands) -> None:
    command = _common(commands, "heatmap", "where in a picture the guide sees a text or a prompt")
    for path in ("manifest", "guide"):
        command.add_argument(f"--{path}", type=Path, required=True, help=PATHS[path])
    command.add_argument("--split", required=True, help="split of the manifest")
    command.add_argument("--prompts", type=Path, help=PATHS["prompts"])
    command.add_argument("--text", nargs="+", default=[], help="words to look for")

    def call(given: argparse.Namespace) -> None:
        module = import_module("semples.stages.heatmap")
        paths = (given.manifest, given.split, given.guide, given.prompts)
        module.run(_settings(given), *paths, texts=given.text, out=given.out)

    command.set_defaults(call=call)


def _config(commands) -> None:
    command = commands.add_parser("config", help="print the settings of an experiment, or the schema")
    command.add_argument("action", nargs="?", choices=("show",), default="show", help="print the settings")
    command.add_argument("--config", default="config.yaml", help="YAML file")
    command.add_argument("--experiment", help="one of `experiments`; without it, the base")
    command.add_argument("--against", choices=("published",), help="print them beside the paper's, as a table")
    command.add_argument("--schema", action="store_true", help="print the JSON schema of config.yaml")

    def call(given: argparse.Namespace) -> None:
        if given.schema:
            print(json.dumps(Config.model_json_schema(), indent=2))
            return
        settings = config.read(given.config)
        if given.experiment:
            settings = config.variant(settings, given.experiment)
        if given.against:
            print(published.table(settings), end="")
            return
        print(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), end="")

    command.set_defaults(call=call)


def _named(command: argparse.ArgumentParser, flag: str, help_text: str) -> None:
    command.add_argument(flag, type=_pair, nargs="*", default=[], metavar="NAME=PATH", help=help_text)


def _pair(text: str) -> tuple[str, Path]:
    name, found, path = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=PATH")
    return name, Path(path)


def _run_of(pair: tuple[str, Path]) -> tuple[str, int, Path]:
    """(variant, seed, path) of a pair named "variant:seed"."""
    variant, _, seed = pair[0].rpartition(":")
    return variant, int(seed), pair[1]
