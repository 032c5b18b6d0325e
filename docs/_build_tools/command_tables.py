"""The sections of docs/commands.md, from the parser of the command line."""

import argparse
from collections.abc import Iterator

from cells import cell, prose

from semples.cli.arguments import add_flags
from semples.cli.commands import COMMANDS, Command


def command_sections() -> str:
    """Return Markdown: the commands that a person calls, then those of the stages, with usage and flags."""
    by_hand = [row for row in COMMANDS if row.function.startswith("tools.") or row.name in ("config", "download")]
    stages = [row for row in COMMANDS if row not in by_hand]
    parts = ["## Commands for you\n", *map(section, by_hand), "## Commands of the workflow\n"]
    parts += [
        "Snakemake calls these. `snakemake --dry-run --printshellcmds` prints them with all their flags.\n",
        *map(section, stages),
    ]
    return "\n".join(parts)


def section(row: Command) -> str:
    """Return the heading, help, usage and table of flags of a command."""
    parser = argparse.ArgumentParser(f"semples {row.name}", add_help=False, formatter_class=wide)
    add_flags(parser, row)
    usage = f"```text\n{parser.format_usage()}```\n"
    return "\n".join([f"### semples {row.name}\n", f"{sentence(row.help)}\n", usage, *flags(parser), ""])


def wide(prog: str) -> argparse.HelpFormatter:
    """Return argparse's formatter for lines of 100 characters, whatever terminal builds the page."""
    return argparse.HelpFormatter(prog, width=100)


def flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the lines of a table of flags."""
    actions = parser._actions  # argparse has no public list of them
    if actions:
        yield from ("| argument | meaning | default |", "| --- | --- | --- |")
    for action in actions:
        name = ", ".join(action.option_strings) or action.metavar or action.dest
        choices = f": {', '.join(f'`{choice}`' for choice in action.choices)}" if action.choices else ""
        silent = action.default is False or action.default in (None, "", [], {})
        default = "required" if action.required else "" if silent else f"`{action.default}`"
        yield f"| `{name}` | {prose((action.help or '') + choices)} | {cell(default)} |"


def sentence(words: str) -> str:
    """Return a help text as a sentence."""
    return words[:1].upper() + words[1:] + "." * (not words.endswith("."))
