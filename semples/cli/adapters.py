"""From the values of flags to the call of a command's function; loaded when a command runs, not for --help."""

import argparse
import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from semples.cli.commands import Command
from semples.config import load, published
from semples.config.parse import parse_yaml, read_json_text, read_yaml
from semples.config.settings import Config, Run, Settings
from semples.errors import SemplesError
from semples.files import remove_leftovers, require_replaceable
from semples.planning.layout import OUTPUTS


def arguments(command: Command, args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of a command's function: values of flags, settings in the place of --config and --run.

    What killed jobs left beside its outputs is removed.

    Raises:
        SemplesError: A configuration is missing, unreadable or has wrong values; an output equals or contains an input,
            or is not semples' own to replace.
    """
    values = {key: value for key, value in vars(args).items() if key not in ("action", "command", "group", "row")}
    inputs = [path for key, value in values.items() if key not in ("out", "save") for path in _paths(value)]
    if "set" in values:
        values["config"] = _configuration(values["config"], values.pop("set"))
    elif "config" in values:
        settings = load.read(source := values.pop("config"))
        values["settings"] = settings.model_copy(update={"run": _run_settings(values, settings.run)})
        inputs += [Path(path) for path in (source, settings.data.root) if path and not path.startswith("{")]
    elif "run" in values:
        values["run"] = _run_settings(values)
    if out := values.get("out") or values.get("save"):
        for path, folder in outputs(command, out):
            if inside := [source for source in inputs if source.resolve().is_relative_to(path.resolve())]:
                problem = f"it {'is' if inside[0].resolve() == path.resolve() else 'contains'} the input {inside[0]}"
                raise SemplesError(f"--out {path}", problem, "an output apart from the inputs", "choose another --out")
            require_replaceable(path, folder)
            remove_leftovers(path)
    return values


def _paths(value: object) -> list[Path]:
    items = value if isinstance(value, list | tuple) else []
    return [value] if isinstance(value, Path) else [path for item in items for path in _paths(item)]


def _run_settings(values: dict[str, Any], run: Run | None = None) -> Run:
    """Return `run` overridden by --run (or $SEMPLES_RUN) and --threads, which are removed from `values`."""
    run = run or Run()
    if "run" not in values:
        return run
    text, threads, where = values.pop("run"), values.pop("threads"), "--run"
    if text is None:
        text, where = os.environ.get("SEMPLES_RUN", "{}"), "$SEMPLES_RUN"
    changes = read_json_text(text, where)
    return load.check(Run, load.merge(run.model_dump(), changes | ({"threads": threads} if threads else {})), where)


def _configuration(path: Path, pairs: list[str]) -> Config:
    """Return the configuration of a YAML file overridden by KEY=VALUE pairs, whose values are YAML."""
    values = read_yaml(path)
    for pair in pairs:
        try:
            key, value = pair.split("=", 1)
            values = load.merge(values, {key: parse_yaml(value, f"--set {key}")})
        except ValueError as error:
            expected = "KEY=VALUE with a value in YAML"
            raise SemplesError("--set", repr(pair), expected, "write it as `seeds=[0,1,2]`") from error
    return load.load(values, " ".join([str(path), *(["--set", *pairs] if pairs else [])]))


def outputs(command: Command, out: Path) -> list[tuple[Path, bool | None]]:
    """Return the paths that a command writes, and whether each is a folder; None if that is not known yet."""
    if command.output in (kinds := {"file": False, "folder": True, "any": None}):
        return [(out, kinds[command.output])]
    if command.output == "figure":
        return [(out, False), (out.with_suffix(".pdf"), False)]
    names = OUTPUTS[command.name].values() if command.output == "stage" else command.output.split()
    return [(out / name, False) for name in names]


def data(what: str | None, settings: Settings, out: Path) -> None:
    """Write a manifest, or a report on the data set where `what` is "check"."""
    import_module("semples.tools.check" if what == "check" else "semples.stages.data").run(settings, out)


def evaluate(
    settings: Settings, manifest: Path, split: str, cams: Path | None, masks: Path | None, kind: str, out: Path
) -> None:
    """Evaluate CAMs, or the masks that the stage `kind` wrote."""
    from semples.stages import evaluate

    if cams:
        evaluate.run_cams(settings, manifest, split, cams, out)
    elif masks:
        evaluate.run_masks(manifest, split, masks, kind, out)


def show_config(source: str, experiment: str | None, against: str | None, schema: bool) -> None:
    """Print the settings that `source` names, or the schema of all settings."""
    if schema:
        print(json.dumps(Config.model_json_schema(), indent=2))
        return
    settings = load.variant(load.read(source), experiment) if experiment else load.read(source)
    if against:
        from tabulate import tabulate

        print(tabulate(published.compare(settings), published.COLUMNS, "pipe", disable_numparse=True))
        return
    print(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), end="")
