"""Variants: what `experiments`, `variants` and the tables of a configuration make of its base.

Every variant is a difference, nested like the settings. `experiments` are what `snakemake` alone runs; `variants` are
run for the tables that show them, and so are those that a table makes itself: a variant for every value of a sweep,
and, where a table has `settings` of its own, its rows under these.
"""

from difflib import get_close_matches
from typing import Any, NamedTuple

from semples.config.settings import Config, Table
from semples.errors import SemplesError


class Row(NamedTuple):
    """A row of a table: the variant it shows, and for a sweep the setting and its value."""

    variant: str
    label: str
    setting: str = ""
    value: Any = None


def variants(config: Config) -> dict[str, dict]:
    """Differences of all variants by name, `experiments` first: they own what they share with the others."""
    return config.experiments | config.variants


def drop_null_entries(values: dict) -> dict:
    """The unchecked `values` of a configuration without what `null` drops, in its tables too."""
    dropped = {
        name for key in ("experiments", "variants") for name, over in (values.get(key) or {}).items() if over is None
    }
    kept = dict(values)
    for key in ("experiments", "variants", "tables"):
        if isinstance(values.get(key), dict):
            kept[key] = {name: over for name, over in values[key].items() if over is not None}
    for name, table in kept.get("tables", {}).items():
        if isinstance(table, dict) and isinstance(table.get("rows"), dict):
            left = {row: label for row, label in table["rows"].items() if row not in dropped and label is not None}
            kept["tables"] = kept["tables"] | {name: table | {"rows": left}}
    return kept


def add_table_variants(config: Config, where: str) -> Config:
    """`config` with the variants that its tables make; an error where a table shows one that nobody has named.

    An experiment takes the place of a variant of its name.
    """
    own = {name: over for name, over in config.variants.items() if name not in config.experiments}
    known = config.experiments | own
    made = {}
    for name, table in config.tables.items():
        for row in table.rows:
            if row not in known:
                near = get_close_matches(row, known, n=1, cutoff=0)
                raise SemplesError(
                    where,
                    f"`tables.{name}.rows` names {row!r}",
                    f"a variant, perhaps {near[0]!r}",
                    "name it in `experiments` or `variants`, or take the row out",
                )
            if table.settings:
                made[_table_variant_name(row, name, table)] = merge(known[row], table.settings)
        for key, values in table.sweeps.items():
            for value in values:
                made[_sweep_variant_name(key, value, name, table)] = merge(table.settings, _nested(key, value))
    return config.model_copy(update={"variants": own | made})


def rows_of(config: Config, name: str) -> list[Row]:
    """The rows of the table `name`, those of its sweeps last."""
    table = config.tables[name]
    rows = [Row(_table_variant_name(row, name, table), label or row) for row, label in table.rows.items()]
    for key, values in table.sweeps.items():
        rows += [
            Row(_sweep_variant_name(key, value, name, table), f"{key} = {_format_value(value)}", key, value)
            for value in values
        ]
    return rows


def seeds_of(config: Config, name: str) -> list[int]:
    """The seeds of the table `name`."""
    return config.seeds[: config.tables[name].seeds]


def settings_note(table: Table) -> str:
    """A sentence that says what all rows of a table have different; empty for nothing."""
    return f"All rows have {_format_settings(table.settings)}." if table.settings else ""


def _format_settings(values: dict, before: str = "") -> str:
    parts = [
        _format_settings(value, f"{before}{key}.") if isinstance(value, dict) else f"`{before}{key}: {value}`"
        for key, value in values.items()
    ]
    return ", ".join(parts)


def merge(base: dict, over: dict) -> dict:
    """`base` with `over` laid on it, key by key, nested dictionaries merged (experiments too)."""
    merged = dict(base)
    for key, value in over.items():
        deep = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if deep else value
    return merged


def _table_variant_name(row: str, name: str, table: Table) -> str:
    """Name of a row's variant under the table's own settings."""
    return f"{row}.{name}" if table.settings else row


def _sweep_variant_name(key: str, value: Any, name: str, table: Table) -> str:
    return _table_variant_name(f"{key}-{_format_value(value)}", name, table)


def _format_value(value: Any) -> str:
    """A value as text, whole numbers without a point."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _nested(key: str, value: Any) -> dict:
    """{"a": {"b": value}} of the key "a.b"; whole numbers as such."""
    found = int(value) if isinstance(value, float) and value.is_integer() else value
    for part in reversed(key.split(".")):
        found = {part: found}
    return found
