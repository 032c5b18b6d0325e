"""Read settings and check them: a complete preset, and the user's config.yaml, which says what differs from it."""

import json
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from semples.config import variants
from semples.config.settings import Config, Settings
from semples.config.variants import merge
from semples.errors import SemplesError

PRESETS, PARITY, RECIPES, TABLES = (
    files("semples.config") / name for name in ("presets", "parity", "recipes", "tables")
)
RENAMED = {"cpl.dot": "final_period"}  # old key: the last part of the new one
Model = TypeVar("Model", bound=BaseModel)


def load(user: dict, where: str = "config.yaml") -> Config:
    """Return the preset that `user` names, with its parity, recipe and tables, and with `user` merged over all of them.

    Raises:
        SemplesError: A preset, key or value of the file `where` is unknown or out of range, in base or variant.
    """
    preset = str(user.get("preset", "mini"))
    path = Path(preset) if preset.endswith((".yaml", ".yml")) else PRESETS / f"{preset}.yaml"
    if not path.is_file():
        raise SemplesError(where, f"preset {preset!r}", f"one of {names(PRESETS)}, or a path", "correct `preset`")
    base = read_yaml(path)
    for key, folder in (("parity", PARITY), ("recipe", RECIPES)):
        name = str(user.get(key, base.get(key, "none")))
        if name not in ["none", *names(folder)]:
            raise SemplesError(where, f"`{key}: {name}`", f"none, or one of {names(folder)}", f"correct `{key}`")
        if name != "none":
            base = merge(base, read_yaml(folder / f"{name}.yaml"))
    if (tables := TABLES / f"{preset}.yaml").is_file():
        base = merge(read_yaml(tables), base)
    merged = variants.drop_null_entries(merge(base, user))
    config = variants.add_table_variants(check(Config, merged, where), where)
    for name in variants.variants(config):
        variant(config, name)
    return config.model_copy(update={"name": config.name or Path(preset).stem})


def names(folder: Traversable) -> list[str]:
    """Return the names of the YAML files in `folder`, sorted, without their suffix."""
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def variant(settings: Settings, name: str) -> Settings:
    """Return the settings of the variant `name`; raise SemplesError where `settings` define none of that name."""
    known = variants.variants(settings) if isinstance(settings, Config) else {}
    if name not in known:
        expected = f"one of {list(known)}" if known else "a YAML file that names `experiments`; JSON text has none"
        remedy = "correct the name, or define it"
        raise SemplesError(f"experiments: {name}", f"no experiment {name!r}", expected, remedy)
    base = settings.model_dump(include=set(Settings.model_fields))
    return check(Settings, merge(base, known[name]), f"experiments: {name}")


def read(source: str) -> Settings:
    """Return the settings of a command's `--config`: JSON text, or the path of a YAML file that names a preset."""
    if not source.lstrip().startswith("{"):
        return load(read_yaml(Path(source)), source)
    try:
        values = json.loads(source)
    except json.JSONDecodeError as error:
        raise SemplesError("--config", f"broken JSON text: {error}", "settings as JSON", "correct the text") from None
    return check(Settings, values, "--config")


def read_yaml(path: Path | Traversable) -> dict:
    """Return the contents of a YAML file, {} if empty; raise SemplesError if missing, broken or no mapping."""
    if not path.is_file():
        raise SemplesError(path, "no such file", "a YAML file with settings", "name one with --config")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise SemplesError(path, f"broken YAML: {problem}", "settings as YAML", "correct the file") from None
    if not isinstance(values, dict | None):
        raise SemplesError(path, f"a {type(values).__name__}", "lines of `key: value`", "correct the file")
    return values or {}


def check(model: type[Model], values: dict, where: str) -> Model:
    """Return `values` as a checked `model`; raise SemplesError with `where`, the first wrong key and its value."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] != "extra_forbidden":
            raise SemplesError(where, f"`{key}: {first['input']!r}`", first["msg"], "correct the value") from None
        near = get_close_matches(str(first["loc"][-1]), _keys_at(model, first["loc"][:-1]), n=1, cutoff=0)
        expected = f"perhaps `{RENAMED.get(key, near[0])}`"
        raise SemplesError(where, f"unknown key `{key}`", expected, "correct or remove the key") from None


def _keys_at(model: type[BaseModel], path: tuple) -> list[str]:
    section: Any = model
    for part in path:
        section = section.model_fields[part].annotation if hasattr(section, "model_fields") else get_args(section)[-1]
    return list(section.model_fields)
