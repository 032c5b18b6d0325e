"""The `semples` command: one subcommand per stage of the workflow, and tools that inspect and use the results."""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from semples import __version__
from semples.cli.arguments import add_flags
from semples.cli.commands import COMMANDS, GROUPS, Command
from semples.errors import SemplesError
from semples.runtime.gpu_lease import lease_gpus


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code: 0, or 1 after bad input. A wrong flag raises SystemExit(2)."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        _run(args.row, args)
    except BrokenPipeError:
        pass
    except SemplesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(command: Command, args: argparse.Namespace) -> None:
    values = import_module("semples.cli.adapters").arguments(command, args)
    if command.gpus:
        run = values["settings"].run
        lease_gpus(run.device, run.devices if command.gpus == "all" else 1)
    module, _, function = command.function.partition(":")
    getattr(import_module(f"semples.{module}"), function)(**values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="semples", description=__doc__)
    parser.add_argument("--version", action="version", version=f"semples {__version__}")
    top = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    groups = {"": top}
    for row in COMMANDS:
        group, _, name = row.name.rpartition(" ")
        if group not in groups:
            parent = top.add_parser(group, help=GROUPS[group], description=GROUPS[group])
            groups[group] = parent.add_subparsers(dest="group", required=True, metavar="KIND")
        command = groups[group].add_parser(name, help=row.help, description=row.help)
        add_flags(command, row)
        command.set_defaults(row=row)
    return parser
