"""The subcommand `config`: what a configuration says, and the schema."""

import argparse
import json

import yaml

from semples.config import load, published
from semples.config.settings import Config


def add(commands) -> None:
    """Add it to the parser's `commands`."""
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
        settings = load.read(given.config)
        if given.experiment:
            settings = load.variant(settings, given.experiment)
        if given.against:
            print(published.table(settings), end="")
            return
        print(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), end="")

    command.set_defaults(call=call)
