"""Base class of the settings' sections, and the types of their values with their ranges."""

import os
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """Settings with known keys only; values are checked when they are read and when they are assigned."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, validate_assignment=True, allow_inf_nan=False
    )


def require(holds: Callable[[Any], object], expected: str, kind: Callable = AfterValidator) -> Any:
    """Return a validator that raises ValueError with the text `expected` for a value that does not hold."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(expected)
        return value

    return kind(check)


def matching(pattern: str, expected: str) -> Any:
    """Return a validator for text that `pattern` matches as a whole; `expected` says it in words."""
    return require(re.compile(pattern, re.DOTALL).fullmatch, expected)


def path_or(*names: str) -> Any:
    """Return a validator for one of `names`, or a path: text with a slash or a dot, so that a slip is no path."""
    return matching(rf"{'|'.join(names)}|.*[/.].*", f"{', '.join(names)}, or a path (./NAME for one in this folder)")


_MODEL = r"(?!.*\.\.)\w[\w.:/@+-]*"


def expand(path: str) -> str:
    """Return a path with `~` and environment variables replaced, also behind `local-dir:`."""
    return os.path.expandvars(re.sub(r"^(local-dir:|)~(?=/|$)", r"\1$HOME", path))


NUMBER = require(lambda value: not isinstance(value, bool), "a number, not true or false", BeforeValidator)
DISTINCT = require(lambda values: all(v not in values[:n] for n, v in enumerate(values)), "each value once")
ORDERED = require(lambda pair: pair[0] <= pair[1], "the smaller number first")
Fraction = Annotated[float, NUMBER, Field(ge=0, le=1)]
BelowOne = Annotated[float, NUMBER, Field(ge=0, lt=1)]
Area = Annotated[float, NUMBER, Field(gt=0, le=1)]
Share = Annotated[float, NUMBER, Field(gt=0, lt=1)]
Positive = Annotated[float, NUMBER, Field(gt=0, le=1e6)]
Weight = Annotated[float, NUMBER, Field(ge=0, le=1e6)]
Rate = Annotated[float, NUMBER, Field(gt=0, le=10)]
Scale = Annotated[float, NUMBER, Field(ge=0.01, le=16)]
Scales = Annotated[list[Scale], Field(min_length=1), DISTINCT]
Count = Annotated[int, NUMBER, Field(ge=1, le=1_000_000)]
Whole = Annotated[int, NUMBER, Field(ge=0, le=1_000_000)]
Few = Annotated[int, NUMBER, Field(ge=1, le=1024)]
Side = Annotated[int, NUMBER, Field(ge=16, le=32_768)]
Seed = Annotated[int, NUMBER, Field(ge=0, lt=2**32)]
FilePath = Annotated[str, AfterValidator(expand)]
Text = Annotated[str, matching(r".*\S.*", "text that is not blank")]
Sentence = Annotated[str, matching(r"[^{}]*\{\}[^{}]*", "a sentence with {} once, for the name of the class")]
_SPLIT = r"[^\s;,-]([^;,\n]*[^\s;,])?"
SplitName = Annotated[str, matching(_SPLIT, "a name without ; or , or blank ends or - at its start")]
ModelName = Annotated[str, matching(_MODEL, "the name of a model")]
GuideName = Annotated[FilePath, matching(rf"local-dir:.+|{_MODEL}", "the name of a model, or local-dir:FOLDER")]
Name = Annotated[
    str,
    matching(
        r"[A-Za-z0-9]([A-Za-z0-9_.+-]{0,98}[A-Za-z0-9_+-])?",
        "a name of 1 to 100 letters (a to z), digits and _ . + -, with a letter or digit first, and no dot at the end",
    ),
]
