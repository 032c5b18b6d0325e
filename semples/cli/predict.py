"""Subcommands that use a trained segmentation network: predict, submission, export."""

import argparse
from pathlib import Path

from semples.cli.arguments import PATHS, add_run, how_to_run
from semples.config.settings import Run


def add(commands) -> None:
    """Add them to the parser's `commands`."""
    _predict(commands)
    _submission(commands)
    _export(commands)


def _predict(commands) -> None:
    command = _command(commands, "predict", "masks, overlays and areas of photographs", runs=True)
    command.add_argument("photos", type=Path, nargs="+", metavar="IMAGE_OR_FOLDER", help="photographs, or folders")
    command.add_argument("--max-side", type=int, default=1024, help="larger photographs are looked at in this size")
    command.add_argument("--scales", type=float, nargs="+", default=[], help="test scales; default: the training's")

    def call(given: argparse.Namespace) -> None:
        from semples.tools import predict

        predict.run(how_to_run(Run(), given), given.checkpoint, given.photos, given.max_side, given.scales, given.out)

    command.set_defaults(call=call)


def _submission(commands) -> None:
    command = _command(commands, "submission", "masks of a split as the tar that the VOC test server takes", runs=True)
    command.add_argument("--manifest", type=Path, required=True, help=PATHS["manifest"])
    command.add_argument("--split", default="test", help="split of the manifest")

    def call(given: argparse.Namespace) -> None:
        from semples.stages import submission

        submission.run(how_to_run(Run(), given), given.checkpoint, given.manifest, given.split, given.out)

    command.set_defaults(call=call)


def _export(commands) -> None:
    command = _command(commands, "export", "the network as ONNX or TorchScript, compared with the original")
    command.add_argument("--format", choices=("onnx", "torchscript"), default="onnx", help="what to write")
    command.add_argument("--size", type=int, nargs=2, default=[512, 512], metavar=("HEIGHT", "WIDTH"), help="its input")

    def call(given: argparse.Namespace) -> None:
        from semples.tools import export

        export.run(given.checkpoint, given.format, *given.size, given.out)

    command.set_defaults(call=call)


def _command(commands, name: str, help_text: str, runs: bool = False) -> argparse.ArgumentParser:
    """A subcommand with a checkpoint, and with what says how it runs where it computes for long."""
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.add_argument("--checkpoint", type=Path, required=True, help=PATHS["checkpoint"])
    command.add_argument("--out", type=Path, required=True, help="what to write")
    if runs:
        add_run(command)
    return command
