"""What subcommands have in common: flags, and the values they stand for."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from semples.config import load
from semples.config.settings import Config, Run, Settings
from semples.errors import SemplesError

PATHS = {
    "manifest": "manifest.csv that `semples data` wrote",
    "guide": "folder that `semples guide` wrote",
    "classes": "classes.csv beside the manifest",
    "start": "model.safetensors to start from",
    "generator": "model.safetensors of the mask generator",
    "prompts": "prompts.safetensors that `semples cpl` wrote",
    "cams": "HDF5 file that `semples cams` wrote",
    "evaluation": "JSON that `semples evaluate --cams` wrote",
    "masks": "folder of mask PNGs named <id>.png",
    "checkpoint": "model.safetensors that `semples segment` wrote",
}


def common(commands, name: str, help_text: str) -> argparse.ArgumentParser:
    """A subcommand with the flags that every command of a stage has."""
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.add_argument("--config", default="config.yaml", help="YAML file, or settings as JSON text")
    add_run(command)
    command.add_argument("--out", type=Path, required=True, help="what to write")
    return command


def add_run(command: argparse.ArgumentParser) -> None:
    """The flags that say how a command runs."""
    run = os.environ.get("SEMPLES_RUN", "{}")
    command.add_argument("--run", default=run, help="settings of `run` as JSON text; default: $SEMPLES_RUN")
    command.add_argument("--threads", type=int, help="CPU threads or processes, instead of `run.threads`")


def settings_of(given: argparse.Namespace) -> Settings:
    """The settings of `--config`, with those of `--run` and `--threads` laid over."""
    settings = load.read(given.config)
    settings.run = how_to_run(settings.run, given)
    return settings


def how_to_run(run: Run, given: argparse.Namespace) -> Run:
    """`run` with the values of `--run` and `--threads` laid over."""
    over = json.loads(given.run) | ({"threads": given.threads} if given.threads else {})
    return load.check(Run, load.merge(run.model_dump(), over), "--run")


def configured(path: Path, pairs: Sequence[str]) -> Config:
    """The configuration of a YAML file with KEY=VALUE laid over, a value read as YAML."""
    if not path.exists():
        raise SemplesError(path, "no such file", "a configuration", "name a YAML file with --config")
    values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found:
            raise SemplesError("--set", repr(pair), "KEY=VALUE", "write it as `seeds=[0,1,2]`")
        values = load.merge(values, {key: yaml.safe_load(value)})
    return load.load(values, str(path))


def named(command: argparse.ArgumentParser, flag: str, help_text: str) -> None:
    """A flag that takes any number of NAME=PATH, as pairs."""
    command.add_argument(flag, type=_pair, nargs="*", default=[], metavar="NAME=PATH", help=help_text)


def _pair(text: str) -> tuple[str, Path]:
    name, found, path = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=PATH")
    return name, Path(path)


def run_of(pair: tuple[str, Path]) -> tuple[str, int, Path]:
    """(variant, seed, path) of a pair named "variant:seed"."""
    variant, _, seed = pair[0].rpartition(":")
    return variant, int(seed), pair[1]
