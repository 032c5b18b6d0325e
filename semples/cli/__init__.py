"""The `semples` command: one subcommand per stage of the workflow, and tools that inspect and use the results."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from semples import __version__
from semples.cli.arguments import add_flags
from semples.cli.commands import COMMANDS, GROUPS, Command
from semples.errors import SemplesError, fault
from semples.runtime.gpu_lease import lease_gpus


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return 0, 1 after an error, or 130 after Ctrl-C. A wrong flag raises SystemExit(2).

    Raises:
        Exception: A bug of semples; the traceback of anything else would not help.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # that of a notebook is none
                stream.reconfigure(errors="backslashreplace")  # a file name may be no UTF-8
        args = _parser().parse_args(argv)
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
        _run(args.row, args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from what is complete", file=sys.stderr)
        return 130
    except BrokenPipeError:  # of `semples ... | head`; Python would complain of it once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        clear = _clear(error, f"semples {argv[0]}")
        if clear is None:
            raise
        print(f"error: {clear}", file=sys.stderr)
        return 1
    return 0


def _clear(error: Exception, where: str) -> SemplesError | None:
    """Return the error that a user reads; None for a bug of semples."""
    if isinstance(error, SemplesError):
        return error
    if isinstance(error, UnicodeEncodeError):
        return SemplesError(repr(error.object), "a name that is not UTF-8", "UTF-8", "rename the file")
    if isinstance(error, UnicodeDecodeError):
        return SemplesError(where, f"bytes that are not {error.encoding}", "text in UTF-8", "save the file as UTF-8")
    if isinstance(error, RecursionError):
        return SemplesError(where, "a value with too many levels", "a few levels", "correct the file or the flag")
    return fault(error, where)


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
