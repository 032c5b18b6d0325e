"""Commands that choose between functions."""

import json
from pathlib import Path

import yaml

from semples.config import load, published
from semples.config.settings import Config, Settings


def data(what: str | None, settings: Settings, out: Path) -> None:
    """Write a manifest, or a report on the data set where `what` is "check"."""
    if what == "check":
        from semples.tools import check

        check.run(settings, out)
    else:
        from semples.stages import data

        data.run(settings, out)


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
