"""Subcommands that judge and look: evaluate, heatmap."""

import argparse
from pathlib import Path

from semples.cli.arguments import PATHS, common, named, settings_of


def add(commands) -> None:
    """Add them to the parser's `commands`."""
    _evaluate(commands)
    _heatmap(commands)


def _evaluate(commands) -> None:
    command = common(commands, "evaluate", "CAMs or masks against true masks")
    command.add_argument("--manifest", type=Path, required=True, help=PATHS["manifest"])
    command.add_argument("--split", required=True, help="split of the manifest")
    judged = command.add_mutually_exclusive_group(required=True)
    judged.add_argument("--cams", type=Path, help=PATHS["cams"])
    judged.add_argument("--masks", type=Path, help=PATHS["masks"])
    command.add_argument("--kind", choices=("crf", "segment"), default="crf", help="stage that made the masks")

    def call(given: argparse.Namespace) -> None:
        from semples.stages import evaluate

        settings = settings_of(given)
        if given.cams:
            evaluate.run_cams(settings, given.manifest, given.split, given.cams, given.out)
        else:
            evaluate.run_masks(given.manifest, given.split, given.masks, given.kind, given.out)

    command.set_defaults(call=call)


def _heatmap(commands) -> None:
    command = common(commands, "heatmap", "where in a picture the guide sees a text or a prompt")
    for path in ("manifest", "guide"):
        command.add_argument(f"--{path}", type=Path, required=True, help=PATHS[path])
    command.add_argument("--split", required=True, help="split of the manifest")
    named(command, "--prompts", "TITLE=prompts.safetensors")
    command.add_argument("--names", action="store_true", help="also the name of each image's class")
    command.add_argument("--text", nargs="+", default=[], help="words to look for")

    def call(given: argparse.Namespace) -> None:
        from semples.stages import heatmap

        paths = (given.manifest, given.split, given.guide, given.prompts)
        heatmap.run(settings_of(given), *paths, texts=given.text, names=given.names, out=given.out)

    command.set_defaults(call=call)
