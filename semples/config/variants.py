"""Derive the variants of a configuration from its `experiments`, `variants` and tables.

A variant is a difference from the base settings, nested like them. `snakemake` alone runs `experiments`. The others run
for the tables that show them: `variants`, each value of a table's sweep, and each row of a table with `settings`.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NamedTuple

from semples.config.settings import Config, Table
from semples.errors import SemplesError

RULES = {
    *("all", "tables", "figures", "data", "download", "weights", "guide", "classify", "slm", "cpl", "csr", "joint"),
    *("cams", "refine", "crf", "join_cams", "join_refine", "join_masks", "evaluate_cams", "evaluate_refine"),
    *("evaluate_masks", "segment", "segment_masks"),
    *("submission", "results", "classes", "words", "paper", "cost", "table_9", "panel", "framework", "comparison"),
    *("confusion", "heatmap", "prompts", "sensitivity", "thresholds", "training"),
}
"""Names that a table cannot have: of the workflow's rules, and of files beside the tables."""


class Row(NamedTuple):
    """A row of a table: the variant it shows and, in a sweep, the setting and its value."""

    variant: str
    label: str
    setting: str = ""
    value: Any = None


def variants(config: Config) -> dict[str, dict]:
    """Return the differences of all variants by name, `experiments` first, so that these own the files they share."""
    return config.experiments | config.variants


def drop_null_entries(values: dict) -> dict:
    """Return unchecked `values` without what is null in them, and the tables without the rows of dropped variants."""
    mappings = {key: values[key] for key in ("experiments", "variants", "tables") if isinstance(values.get(key), dict)}
    result = {key: {name: entry for name, entry in m.items() if entry is not None} for key, m in mappings.items()}
    dropped = {name for key in mappings if key != "tables" for name in mappings[key].keys() - result[key].keys()}
    for name, table in result.get("tables", {}).items():
        if isinstance(table, dict) and isinstance(table.get("rows"), dict):
            rows = {row: label for row, label in table["rows"].items() if row not in dropped and label is not None}
            result["tables"] = result["tables"] | {name: table | {"rows": rows}}
    return values | result


def add_table_variants(config: Config, where: str) -> Config:
    """Return `config` with the variants that its tables need; an experiment replaces a variant of the same name.

    Raises:
        SemplesError: A table in the file `where` has a row for a variant that does not exist.
    """
    own = {name: over for name, over in config.variants.items() if name not in config.experiments}
    known: dict[str, dict] = config.experiments | own
    added: dict[str, dict] = {}
    for name, table in config.tables.items():
        for row in table.rows:
            if row not in known:
                near = f"a variant, perhaps {get_close_matches(row, known, n=1, cutoff=0)[0]!r}"
                remedy = "name it in `experiments` or `variants`, or remove the row"
                raise SemplesError(where, f"`tables.{name}.rows` names {row!r}", near, remedy)
        shown = [(_variant_name(row, name, table), merge(known[row], table.settings)) for row in table.rows]
        shown += [(s.variant, merge(table.settings, _nested(s.setting, s.value))) for s in _sweep_rows(name, table)]
        for variant, over in shown:
            if (known | added).get(variant, over) != over:
                problem = f"two variants of the name {variant!r}, one of table `{name}`"
                raise SemplesError(where, problem, "a name of its own for each", "rename a table or a variant")
            added |= {variant: over} if variant not in known else {}
    _require_file_names(config.tables, RULES, where)
    _require_file_names(known | added, (), where)
    return config.model_copy(update={"variants": own | added})


def _require_file_names(names: Iterable[str], reserved: Iterable[str], where: str) -> None:
    """Raise SemplesError for a reserved name, or for two that a file system without upper case has as one."""
    known = dict.fromkeys(reserved, "a rule of the workflow")
    for name in names:
        if other := known.get(name.casefold()):
            remedy = "rename one; names differ in more than upper case"
            raise SemplesError(where, f"the name {name!r}", f"another than {other}", remedy)
        known[name.casefold()] = repr(name)


def rows_of(config: Config, name: str) -> list[Row]:
    """Return the rows of the table `name`, those of its sweeps last."""
    table = config.tables[name]
    rows = [Row(_variant_name(row, name, table), label or row) for row, label in table.rows.items()]
    return rows + _sweep_rows(name, table)


def _sweep_rows(name: str, table: Table) -> list[Row]:
    rows = []
    for key, value in ((key, value) for key, values in table.sweeps.items() for value in values):
        text = f"{value:g}" if isinstance(value, float) else str(value)  # whole numbers without a point
        label = re.sub(r"[^A-Za-z0-9_.+-]", "_", text)[-80:]  # in file names
        rows.append(Row(_variant_name(f"{key}-{label}", name, table), f"{key} = {text}", key, value))
    return rows


def format_settings(values: dict, prefix: str = "") -> str:
    """Return nested settings as "`section.key: value`, ..."."""
    parts = [
        format_settings(value, f"{prefix}{key}.") if isinstance(value, dict) else f"`{prefix}{key}: {value}`"
        for key, value in values.items()
    ]
    return ", ".join(parts)


def merge(base: dict, over: dict) -> dict:
    """Return `base` with the entries of `over`; dictionaries in both are merged, at every level."""
    merged = dict(base)
    for key, value in over.items():
        deep = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if deep else value
    return merged


def _variant_name(row: str, name: str, table: Table) -> str:
    return f"{row}.{name}" if table.settings else row


def _nested(key: str, value: Any) -> dict:
    """Return {"a": {"b": value}} for the key "a.b", a whole number as int."""
    nested: Any = int(value) if isinstance(value, float) and value.is_integer() else value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested
