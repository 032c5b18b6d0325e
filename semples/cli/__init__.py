"""The `semples` command: one subcommand a stage, as the workflow's rules call it, those that look at results,
and those that use a trained network."""

import argparse
import logging
import sys
from collections.abc import Sequence

from semples import __version__
from semples.cli import figures, inspect, plan, predict, report, results, settings, shards, stages, tables
from semples.errors import SemplesError


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
    for part in (stages, shards, results, tables, figures, plan, report, inspect, predict, settings):
        part.add(commands)
    return parser
