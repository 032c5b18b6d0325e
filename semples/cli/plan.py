"""The subcommand `plan`: jobs, hours and disk of a run before it starts."""

import argparse
from pathlib import Path

from semples.cli.arguments import configured


def add(commands) -> None:
    """Add it to the parser's `commands`."""
    help_text = "jobs of a run with estimated hours, memory and disk, before anything starts"
    command = commands.add_parser("plan", help=help_text, description=help_text)
    command.add_argument("targets", nargs="*", default=["results"], help="results, tables, figures, or names of tables")
    command.add_argument("--config", type=Path, default=Path("config.yaml"), help="YAML file")
    command.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="laid over, as `snakemake --config`")
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), help="instead of `run.device`")
    command.add_argument("--at-once", type=int, default=1, help="jobs that run at a time: GPUs, or CPU jobs")

    def call(given: argparse.Namespace) -> None:
        from semples.tools import plan

        settings = configured(given.config, given.set)
        plan.run(settings, given.targets, given.device or settings.run.device, given.at_once)

    command.set_defaults(call=call)
