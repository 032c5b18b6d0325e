"""Read YAML files and JSON text into plain values; an error names the file and the line."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from semples.errors import SemplesError

LARGEST = 5_000_000  # bytes of a file
MOST_VALUES, DEEPEST = 500_000, 20  # of a configuration with all its aliases written out
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def read_json_text(text: str, where: str) -> dict:
    """Return the JSON object in `text`; raise SemplesError if it is none, or has a key twice."""
    try:
        values = json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        problem = "deep nesting" if isinstance(error, RecursionError) else str(error)
        raise SemplesError(where, f"broken JSON text: {problem}", "settings as JSON", "correct the text") from None
    if not isinstance(values, dict):
        raise SemplesError(where, repr(text)[:100], "settings as a JSON object", 'write it as {"key": value}')
    return values


def _distinct(pairs: list[tuple[str, Any]]) -> dict:
    if repeated := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise ValueError(f"the key {repeated[0]!r} twice")
    return dict(pairs)


class _Loader(yaml.SafeLoader):
    """YAML without a key twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in keys:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} a second time", problem_mark=key.start_mark)
            keys.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


def read_yaml(path: Path | Traversable) -> dict:
    """Return the contents of a YAML file, {} if empty; raise SemplesError if missing, broken or no mapping."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else str(getattr(error, "strerror", error))
        raise SemplesError(path, problem, "a YAML file with settings", "name one with --config") from None
    values = parse_yaml(text, str(path)) if len(text) <= LARGEST else b""
    if not isinstance(values, dict | None):
        problem = f"a {type(values).__name__}" if values != b"" else f"more than {LARGEST} bytes"
        raise SemplesError(path, problem, "lines of `key: value`", "correct the file")
    return values or {}


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Return the value of YAML text in UTF-8 or UTF-16; an error names the line."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError, TypeError) as error:
        problem, line = getattr(error, "problem", None) or " ".join(str(error).split()), ""
        if mark := getattr(error, "problem_mark", None):
            line = f"line {mark.line + 1}: "
        if isinstance(error, yaml.reader.ReaderError):
            newlines = str(text[: error.position], "latin-1").count("\n") if isinstance(text, bytes) else 0
            problem, line = f"a character that is not {error.encoding}: {error.reason}", f"line {newlines + 1}: "
        problem = "deep nesting" if isinstance(error, RecursionError) else problem
        expected = "settings as YAML: lines of `key: value`, indented by spaces, in UTF-8"
        raise SemplesError(where, f"broken YAML: {line}{problem}", expected, "correct the file") from None


def require_plain(values: object, where: str) -> None:
    """Raise SemplesError for a key that is no text, a control character, NaN, infinity, or a bomb of aliases."""
    for number, problem in enumerate(_problems(values)):
        problem = f"more than {MOST_VALUES} values" if number > MOST_VALUES else problem
        if problem:
            expected = "keys of text, finite numbers, no control character"
            raise SemplesError(where, problem, expected, "correct it; put a key such as 1 or no into quotes")


def _problems(value: object, key: str = "", depth: int = 0) -> Iterator[str]:
    """Yield what is wrong with each of the values, "" for nothing."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"`{key}: {value}`"
    elif isinstance(value, str) and CONTROL.search(value):
        yield f"`{key}: {value[:60]!r}`, with a control character"
    elif depth > DEEPEST:
        yield f"settings nested more than {DEEPEST} deep"
    elif isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else zip(map(str, count()), value):
            text = isinstance(name, str) and not CONTROL.search(name)
            yield "" if text else f"the key {name!r}{key and f' in `{key}`'}, which is no plain text"
            yield from _problems(item, f"{key}.{name}".lstrip("."), depth + 1)
    yield ""
