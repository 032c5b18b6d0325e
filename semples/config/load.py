"""Reading settings: two layers, and errors that name the key.

A configuration is a preset (complete, in presets/) with the user's config.yaml (what differs) laid over it.
`experiments` names variants as further differences; each is one row of the tables.
"""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from semples.config import variants
from semples.config.settings import Config, Settings
from semples.config.variants import merge
from semples.errors import SemplesError

RENAMED = {"cpl.dot": "final_period"}  # old key: the last part of the new one
FOLDER = Path(__file__).parent
PRESETS, PARITY, RECIPES, TABLES = (FOLDER / name for name in ("presets", "parity", "recipes", "tables"))


def load(user: dict, where: str = "config.yaml") -> Config:
    """The preset named in `user`, its fragments and then the user's differences laid over it, checked."""
    preset = user.get("preset", "mini")
    path = Path(preset) if str(preset).endswith((".yaml", ".yml")) else PRESETS / f"{preset}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in PRESETS.glob("*.yaml"))
        raise SemplesError(where, f"preset {preset!r}", f"one of {known}, or a path", "correct `preset`")
    base = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for key, folder in (("parity", PARITY), ("recipe", RECIPES)):
        base = merge(base, _fragment(key, folder, str(user.get(key, base.get(key, "none"))), where))
    if (tables := TABLES / f"{preset}.yaml").exists():
        base = merge(yaml.safe_load(tables.read_text(encoding="utf-8")), base)
    merged = variants.drop_null_entries(merge(base, user))
    config = variants.add_table_variants(check(Config, merged, where), where)
    for name in variants.variants(config):
        variant(config, name)
    return config.model_copy(update={"name": config.name or path.stem})


def _fragment(key: str, folder: Path, name: str, where: str) -> dict:
    """What `folder`/`name`.yaml lays over a preset; nothing for `none`."""
    known = {path.stem: path for path in folder.glob("*.yaml")}
    if name == "none":
        return {}
    if name not in known:
        raise SemplesError(where, f"`{key}: {name}`", f"none, or one of {sorted(known)}", f"correct `{key}`")
    return yaml.safe_load(known[name].read_text(encoding="utf-8"))


def variant(config: Config, name: str) -> Settings:
    """The settings of one variant: the base with its differences."""
    base = config.model_dump(include=set(Settings.model_fields))
    return check(Settings, merge(base, variants.variants(config)[name]), f"experiments: {name}")


def read(source: str) -> Settings:
    """Settings of a command: JSON text, or the path of a YAML file that names a preset."""
    if source.lstrip().startswith("{"):
        return check(Settings, json.loads(source), "--config")
    path = Path(source)
    if not path.exists():
        raise SemplesError(path, "no such file", "a configuration", "name a YAML file with --config")
    return load(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, str(path))


def check(model: type[BaseModel], values: dict, where: str) -> Any:
    """Validate, or name the key, the value found and what was expected."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            keys = _keys_at(model, first["loc"][:-1])
            near = [RENAMED[key]] if key in RENAMED else get_close_matches(str(first["loc"][-1]), keys, n=1, cutoff=0)
            raise SemplesError(
                where, f"unknown key `{key}`", f"perhaps `{near[0]}`", "correct or remove the key"
            ) from None
        raise SemplesError(where, f"`{key}: {first['input']!r}`", first["msg"], "correct the value") from None


def _keys_at(model: type[BaseModel], place: tuple) -> list[str]:
    for part in place:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
