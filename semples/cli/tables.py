"""The subcommand `tables`: numbers of all variants, the paper's tables, the words of prompts."""

import argparse
from pathlib import Path

from semples.cli.arguments import named, run_of


def add(commands) -> None:
    """Add it to the parser's `commands`."""
    help_text = "evaluations, words and costs as CSV, Markdown and LaTeX"
    command = commands.add_parser("tables", help=help_text, description=help_text)
    kinds = command.add_subparsers(dest="kind", required=True, metavar="KIND")
    _results(_kind(kinds, "results", "the numbers of all variants and seeds"))
    _paper(_kind(kinds, "paper", "one of the paper's tables"))
    _words(_kind(kinds, "words", "the words nearest to the prompts"))
    _cost(_kind(kinds, "cost", "hours, memory and disk of every stage"))


def _kind(kinds, name: str, help_text: str) -> argparse.ArgumentParser:
    command = kinds.add_parser(name, help=help_text, description=help_text)
    command.add_argument("--out", type=Path, required=True, help="folder to write into")
    return command


def _results(command: argparse.ArgumentParser) -> None:
    named(command, "--evaluation", "VARIANT:SEED=JSON of one evaluation")
    command.add_argument("--note", default="", help="what the numbers hold for")

    def call(given: argparse.Namespace) -> None:
        from semples.stages.tables import results

        results.run(map(run_of, given.evaluation), given.note, given.out)

    command.set_defaults(call=call)


def _paper(command: argparse.ArgumentParser) -> None:
    named(command, "--evaluation", "VARIANT:SEED=JSON of one evaluation")
    command.add_argument("--table", required=True, help="name, title, rows and legend as JSON text")

    def call(given: argparse.Namespace) -> None:
        from semples.stages.tables import paper

        spec = paper.Spec.model_validate_json(given.table)
        paper.run(spec, map(run_of, given.evaluation), given.out)

    command.set_defaults(call=call)


def _words(command: argparse.ArgumentParser) -> None:
    named(command, "--words", "VARIANT:SEED=words.csv of one cpl run")

    def call(given: argparse.Namespace) -> None:
        from semples.stages.tables import words

        words.run(map(run_of, given.words), given.out)

    command.set_defaults(call=call)


def _cost(command: argparse.ArgumentParser) -> None:
    command.add_argument("--base", type=Path, required=True, help="folder of a run, results/<name>")
    command.add_argument("--note", default="", help="what the numbers hold for")

    def call(given: argparse.Namespace) -> None:
        from semples.stages.tables import cost

        cost.run(given.base, given.note, given.out)

    command.set_defaults(call=call)
