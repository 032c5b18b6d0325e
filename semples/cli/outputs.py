"""Refuse, before any work, an --out that would replace an input or a file that semples did not write."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semples.cli.commands import Command
from semples.errors import SemplesError
from semples.files import require_replaceable
from semples.planning.layout import OUTPUTS


def check_outputs(command: Command, args: argparse.Namespace, values: dict[str, Any]) -> None:
    """Raise an error if an output of the command equals or contains an input, or is not semples' own to replace."""
    out = values.get("out") or values.get("save")
    if not out:
        return
    inputs = [path for name, value in vars(args).items() if name not in ("out", "save") for path in _paths(value)]
    inputs += [Path(args.config)] if isinstance(getattr(args, "config", None), str) and args.config[:1] != "{" else []
    inputs += [Path(values["settings"].data.root)] if "settings" in values and values["settings"].data.root else []
    for path, folder in _outputs(command, out):
        for source in inputs:
            if source.resolve().is_relative_to(path.resolve()):
                problem = f"it {'is' if source.resolve() == path.resolve() else 'contains'} the input {source}"
                raise SemplesError(f"--out {path}", problem, "an output apart from the inputs", "choose another --out")
        require_replaceable(path, folder)


def _outputs(command: Command, out: Path) -> list[tuple[Path, bool | None]]:
    """Return the paths that a command writes, and whether each is a folder."""
    whole = {"file": False, "folder": True, "any": None}
    if command.output in whole:
        return [(out, whole[command.output])]
    if command.output == "figure":
        return [(out, False), (out.with_suffix(".pdf"), False)]
    names = OUTPUTS[command.name].values() if command.output == "stage" else command.output.split()
    return [(out / name, False) for name in names]


def _paths(value: object) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)
