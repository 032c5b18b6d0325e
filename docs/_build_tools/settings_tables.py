"""The tables of docs/settings.md, from the schema of config.yaml and the stages that read each section."""

import json
from collections.abc import Iterator
from typing import Any

from cells import cell, prose

from semples.config.settings import Config
from semples.planning.graph import SECTIONS, UNTRAINED

SCHEMA = Config.model_json_schema()
READ_BY = {"run": "every job", "download": "download"}
"""Sections that do not decide what reruns, so that planning.graph names no stage for them."""


def settings_tables() -> str:
    """Return Markdown: a table of the keys outside sections, then a heading and a table for every section."""
    keys = SCHEMA["properties"]
    sections = {name: resolved(field) for name, field in keys.items() if "properties" in resolved(field)}
    outside = [
        row for name, field in keys.items() if name not in sections for row in rows(name, with_readers(name, field))
    ]
    parts = ["## Keys outside sections\n", *table(outside)]
    for name, section in sections.items():
        parts += [f"\n## {name}\n", f"{prose(with_readers(name, section)['description'])}\n"]
        parts += table([row for key, field in section["properties"].items() for row in rows(f"{name}.{key}", field)])
    return "\n".join(parts) + "\n"


def with_readers(name: str, field: dict) -> dict:
    """Return the schema of a section or of a key outside sections; its description also says who reads it."""
    return field | {"description": f"{field['description']} Read by: {readers(name)}."}


def table(rows: list[tuple[str, dict]]) -> Iterator[str]:
    """Yield the lines of a table of keys: type and range, default, and meaning."""
    yield from ("| key | value | default | meaning |", "| --- | --- | --- | --- |")
    for key, field in rows:
        default = f"`{cell(json.dumps(field['default'], ensure_ascii=False))}`" if "default" in field else "required"
        yield f"| `{key}` | {kind(field)} | {default} | {prose(field.get('description', ''))} |"


def rows(key: str, field: dict) -> Iterator[tuple[str, dict]]:
    """Yield a key and its schema, or those of all keys inside a section."""
    section = resolved(field)
    entries = section.get("additionalProperties")
    if "properties" in section:
        for name, inner in section["properties"].items():
            yield from rows(f"{key}.{name}", inner)
    else:
        yield key, field
        for name, inner in resolved(entries).get("properties", {}).items() if isinstance(entries, dict) else ():
            yield from rows(f"{key}.<name>.{name}", inner)


def readers(section: str) -> str:
    """Return the stages that read a section, in the order of the workflow; a change of it reruns them."""
    untrained = set().union(*UNTRAINED.values())
    read = [stage for stage in SECTIONS if section in SECTIONS[stage] or (stage == "cams" and section in untrained)]
    return READ_BY.get(section) or ", ".join(stage for stage in read if stage != "evaluate_refine") or "the workflow"


def resolved(field: dict) -> dict:
    """Return a schema, or the definition that it refers to."""
    return SCHEMA["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field


def kind(field: dict) -> str:
    """Return a type and its range in words."""
    if "anyOf" in field:
        return " or ".join(kind(option) for option in field["anyOf"])
    if "enum" in field or "const" in field:
        return ", ".join(f"`{cell(str(value))}`" for value in field.get("enum", [field.get("const")]))
    names = {"boolean": "`true`, `false`", "string": "text", "null": "empty", None: "any", "object": "mapping"}
    if field.get("type") in ("integer", "number"):
        return field["type"] + bounds(field)
    if field.get("type") == "array":
        items = field.get("prefixItems")
        return f"{len(items)} values: {kind(items[0])}" if items else f"list of: {kind(field.get('items', {}))}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"mapping to: {kind(resolved(field['additionalProperties']))}"
    return names[field.get("type")]


def bounds(field: dict[str, Any]) -> str:
    """Return the range of a number: " 0 to 1", with "above" and "below" where an end does not belong to it."""
    ends = (("ge", "minimum", " "), ("gt", "exclusiveMinimum", " above "))
    ends += (("le", "maximum", " to "), ("lt", "exclusiveMaximum", " to below "))
    values = [(word, field.get(name, field.get(other))) for name, other, word in ends]
    return "".join(f"{word}{value:,.10g}" for word, value in values if value is not None)
