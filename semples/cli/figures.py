"""The subcommand `figures`: panels, curves, words and confusions, each as PNG and PDF."""

import argparse
import json
from pathlib import Path

from semples.cli.arguments import PATHS, named, run_of, settings_of


def add(commands) -> None:
    """Add it to the parser's `commands`."""
    help_text = "panels of pictures and curves, as PNG and PDF"
    command = commands.add_parser("figures", help=help_text, description=help_text)
    kinds = command.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind in (_panel, _comparison, _framework, _thresholds, _training, _sensitivity, _confusion, _prompts):
        kind(kinds)


def _kind(kinds, name: str, help_text: str, pictures: bool = False) -> argparse.ArgumentParser:
    command = kinds.add_parser(name, help=help_text, description=help_text)
    command.add_argument("--out", type=Path, required=True, help="PNG to write; the PDF lies beside it")
    if pictures:
        command.add_argument("--config", default="config.yaml", help="YAML file, or settings as JSON text")
        command.add_argument("--manifest", type=Path, required=True, help=PATHS["manifest"])
        command.add_argument("--split", required=True, help="split of the manifest")
        command.set_defaults(run="{}", threads=None)
        named(command, "--cams", "TITLE=HDF5 file")
    return command


def _panel(kinds) -> None:
    command = _kind(kinds, "panel", "pictures, CAMs and masks of some images", pictures=True)
    named(command, "--masks", "TITLE=folder of masks")

    def call(given: argparse.Namespace) -> None:
        from semples.stages.figures import panels

        panels.run_panel(settings_of(given), given.manifest, given.split, given.cams, given.masks, given.out)

    command.set_defaults(call=call)


def _comparison(kinds) -> None:
    command = _kind(kinds, "comparison", "CAMs on random, best and worst images", pictures=True)
    command.add_argument(
        "--threshold", type=float, required=True, help="background threshold that best and worst are by"
    )

    def call(given: argparse.Namespace) -> None:
        from semples.stages.figures import panels

        paths = (given.manifest, given.split, given.cams)
        panels.run_comparison(settings_of(given), *paths, given.threshold, given.out)

    command.set_defaults(call=call)


def _framework(kinds) -> None:
    command = _kind(kinds, "framework", "the stages of the method on one image", pictures=True)
    named(command, "--masks", "TITLE=folder of masks")
    command.add_argument("--words", type=Path, required=True, help="words.csv of the prompt")

    def call(given: argparse.Namespace) -> None:
        from semples.stages.figures import panels

        paths = (given.manifest, given.split, given.cams, given.masks, given.words)
        panels.run_framework(settings_of(given), *paths, given.out)

    command.set_defaults(call=call)


def _thresholds(kinds) -> None:
    command = _kind(kinds, "thresholds", "mIoU over the background threshold")
    named(command, "--evaluation", "VARIANT:SEED=JSON of an evaluation of CAMs")

    def call(given: argparse.Namespace) -> None:
        from semples.stages.figures import curves

        curves.run_thresholds(map(run_of, given.evaluation), given.out)

    command.set_defaults(call=call)


def _training(kinds) -> None:
    command = _kind(kinds, "training", "loss over epochs")
    named(command, "--metrics", "TITLE=metrics.jsonl")

    def call(given: argparse.Namespace) -> None:
        from semples.stages.figures import curves

        curves.run_training(given.metrics, given.out)

    command.set_defaults(call=call)


def _sensitivity(kinds) -> None:
    command = _kind(kinds, "sensitivity", "mIoU over the settings that tables sweep")
    command.add_argument("--tables", type=Path, nargs="+", required=True, help="CSVs of `semples tables paper`")

    def call(given: argparse.Namespace) -> None:
        from semples.stages.figures import curves

        curves.run_sensitivity(given.tables, given.out)

    command.set_defaults(call=call)


def _confusion(kinds) -> None:
    command = _kind(kinds, "confusion", "which class the pixels of every class are given to")
    command.add_argument("--manifest", type=Path, required=True, help=PATHS["manifest"])
    command.add_argument("--split", required=True, help="split of the manifest")
    command.add_argument("--masks", type=Path, required=True, help=PATHS["masks"])

    def call(given: argparse.Namespace) -> None:
        from semples.stages.figures import confusions

        confusions.run(given.manifest, given.split, given.masks, given.out)

    command.set_defaults(call=call)


def _prompts(kinds) -> None:
    command = _kind(kinds, "prompts", "the nouns nearest to the learned prompts")
    command.add_argument("--words", type=Path, required=True, help="words.csv of learned prompts")
    command.add_argument("--manual", type=json.loads, default={}, help="words written by hand, by class, as JSON text")

    def call(given: argparse.Namespace) -> None:
        from semples.stages.figures import prompts

        prompts.run(given.words, given.manual, given.out)

    command.set_defaults(call=call)
