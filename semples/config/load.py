"""Read settings and check them: a complete preset, and the user's config.yaml, which says what differs from it."""

from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from semples.config import variants
from semples.config.contradictions import require_agreement
from semples.config.parse import read_json_text, read_yaml, require_plain
from semples.config.settings import Config, Settings, types
from semples.config.variants import merge
from semples.errors import SemplesError

PRESETS, PARITY, RECIPES, TABLES = (
    files("semples.config") / name for name in ("presets", "parity", "recipes", "tables")
)
PRESET_OF_SOURCE = {"photos": "photos", "voc": "voc12", "coco": "coco14"}
RENAMED = {"cpl.dot": "final_period"}  # old key: the last part of the new one
Model = TypeVar("Model", bound=BaseModel)


def load(user: dict, where: str = "config.yaml") -> Config:
    """Return the preset that `user` names, with its parity, recipe and tables, and with `user` merged over all of them.

    Raises:
        SemplesError: A preset, key or value of the file `where` is unknown or out of range, in base or variant.
    """
    require_plain(user, where)
    user = {key: value for key, value in _with_null(user).items() if value is not None}  # `key:` changes nothing
    preset = _preset(user, where)
    base = _preset_values(preset)
    for key, folder in (("parity", PARITY), ("recipe", RECIPES)):
        name = str(user.get(key, base.get(key, "none")))
        if name not in ["none", *names(folder)]:
            raise SemplesError(where, f"`{key}: {name}`", f"none, or one of {names(folder)}", f"correct `{key}`")
        if name != "none":
            base = merge(base, read_yaml(folder / f"{name}.yaml"))
    merged = variants.drop_null_entries(merge(base, user))
    merged["name"] = merged.get("name") or Path(preset).stem
    config = variants.add_table_variants(check(Config, merged, where), where)
    for name in variants.variants(config):
        settings = variant(config, name)
        if settings.data != config.data:
            expected, remedy = "one data set for all experiments", "write a config.yaml of its own, with another `name`"
            raise SemplesError(f"{where}, experiment {name}", "`data` of its own", expected, remedy)
        require_agreement(settings, f"{where}, experiment {name}")
    return config


def _preset(user: dict, where: str) -> str:
    """Return the name or path of the preset; an error if it is unknown, or missing beside data of one's own."""
    data = user["data"] if isinstance(user.get("data"), dict) else {}
    preset, source = types.expand(str(user.get("preset", "mini"))), data.get("source")
    if "preset" not in user and (not user or PRESET_OF_SOURCE.get(str(source)) or data.get("root")):
        problem = f"`data.source: {source}` and no `preset`" if source else "no `preset`"
        remedy = f"write `preset: {PRESET_OF_SOURCE.get(str(source), 'photos')}`, or `preset: mini` for the miniature"
        raise SemplesError(where, problem if user else "no settings", f"one of {names(PRESETS)}, or a path", remedy)
    if preset not in names(PRESETS) and not (preset.endswith((".yaml", ".yml")) and Path(preset).is_file()):
        raise SemplesError(where, f"preset {preset!r}", f"one of {names(PRESETS)}, or a path", "correct `preset`")
    return preset


def _preset_values(preset: str) -> dict:
    """Return the values and tables of a preset, merged over those of the preset of the package that it names."""
    path = Path(preset) if preset.endswith((".yaml", ".yml")) else PRESETS / f"{preset}.yaml"
    values = read_yaml(path)
    if preset in names(TABLES):
        values = merge(read_yaml(TABLES / f"{preset}.yaml"), values)
    if (base := values.pop("preset", None)) is None:
        return values
    if base not in names(PRESETS):
        problem, expected = f"`preset: {base}` in a preset", f"one of {names(PRESETS)}"
        raise SemplesError(path, problem, expected, "correct or remove `preset`")
    return merge(_preset_values(base), values)


def _with_null(values: Any) -> Any:
    """Return settings with None for the text "null", as which `snakemake --config` passes it on."""
    if isinstance(values, dict):
        return {key: _with_null(value) for key, value in values.items()}
    return None if values == "null" else values


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
    return check(Settings, read_json_text(source, "--config"), "--config")


def check(model: type[Model], values: dict, where: str) -> Model:
    """Return `values` as a checked `model`; raise SemplesError with `where`, the first wrong key and its value."""
    require_plain(values, where)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        if first["type"] != "extra_forbidden":
            expected, shown = first["msg"].removeprefix("Value error, "), repr(first["input"])
            shown = shown if len(shown) < 100 else f"{shown[:100]} ..."
            raise SemplesError(where, f"`{key}: {shown}`", expected, "correct the value") from None
        near = get_close_matches(str(first["loc"][-1]), _keys_at(model, first["loc"][:-1]), n=1, cutoff=0)
        expected = f"perhaps `{RENAMED.get(key, near[0])}`"
        raise SemplesError(where, f"unknown key `{key}`", expected, "correct or remove the key") from None


def _keys_at(model: type[BaseModel], path: tuple) -> list[str]:
    section: Any = model
    for part in path:
        section = section.model_fields[part].annotation if hasattr(section, "model_fields") else get_args(section)[-1]
    return list(section.model_fields)
