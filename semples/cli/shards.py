"""The subcommand `join`: shards of CAMs or of pseudo masks become one."""

import argparse
from pathlib import Path


def add(commands) -> None:
    """Add it to the parser's `commands`."""
    help_text = "an index that reads HDF5 shards as one file, or one folder of the pseudo masks of shards"
    command = commands.add_parser("join", help=help_text, description=help_text)
    command.add_argument("--shards", type=Path, nargs="+", required=True, help="files of cams, or folders of crf")
    command.add_argument("--out", type=Path, required=True, help="what to write; an index lies above its shards")

    def call(given: argparse.Namespace) -> None:
        from semples.stages import join

        join.run(given.shards, given.out)

    command.set_defaults(call=call)
