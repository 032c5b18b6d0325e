"""The subcommand `report`: a run's tables and figures on one page."""

import argparse
from pathlib import Path

from semples.cli.arguments import configured


def add(commands) -> None:
    """Add it to the parser's `commands`."""
    help_text = "tables, figures and provenance of a run on one HTML page"
    command = commands.add_parser("report", help=help_text, description=help_text)
    command.add_argument("--config", type=Path, default=Path("config.yaml"), help="YAML file")
    command.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="laid over, as `snakemake --config`")
    command.add_argument("--base", type=Path, help="folder of the run; default: results/<name>")
    command.add_argument("--out", type=Path, help="page to write; default: paper.html in that folder")

    def call(given: argparse.Namespace) -> None:
        from semples.tools import report

        config = configured(given.config, given.set)
        base = given.base or Path("results", config.name)
        report.run(config, base, given.out or base / "paper.html")

    command.set_defaults(call=call)
