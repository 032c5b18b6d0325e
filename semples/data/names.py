"""Names of classes and images: which of them mean no object, their order, and which are refused."""

import re
from collections.abc import Iterable, Iterator

from semples.errors import SemplesError

VOID = {"void", "ignore", "ignored", "unlabeled", "unlabelled"}
NO_OBJECT = VOID | {"background", "bg", "none", "null", "nan"}
LONGEST = 251  # bytes of a file's name without its suffix .png
READABLE = {
    r"[^\0-\x1f\x7f]*": "has a control character, such as a line break",
    r"[^\ud800-\udfff]*": "is not UTF-8",
}
CLASS = READABLE | {
    r".+": "is empty",
    r"[^;]*": "has a ';', which separates labels",
}
IMAGE_ID = READABLE | {
    r".+": "is empty",
    r"(?!/|(.*/)?\.{0,2}(/|$)).*": "leads outside: it begins or ends with a slash, or has '..' or '.'",
    r"(?!confidence/).*": "begins with confidence/, a folder of the pseudo masks",
}


def means_no_object(name: str, meanings: set[str] = NO_OBJECT) -> bool:
    """Return whether a name means background or void in any spelling: `_background_`, `BG`, `void/ignore`."""
    parts = re.findall(r"[^\W_]+", re.sub(r"^[\d\W_]+", "", name.lower()))  # a number may come first
    return "".join(parts) in meanings or (bool(parts) and meanings.issuperset(parts))


def natural_order(name: str) -> tuple[list[str | int], str]:
    """Return the key that sorts numbers in names by value: 1, 2, 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def require_names(where: object, kind: str, names: Iterable[str], rules: dict[str, str], remedy: str) -> None:
    """Raise SemplesError for the first name with a problem."""
    for problem in name_problems(where, kind, names, rules, remedy):
        raise problem


def name_problems(
    where: object, kind: str, names: Iterable[str], rules: dict[str, str], remedy: str, longest: int | None = LONGEST
) -> Iterator[SemplesError]:
    """Yield a problem for every name that breaks one of `rules` (pattern and what breaks it), or is too long.

    Args:
        longest: Bytes that a part between slashes may have; None for no limit.
    """
    patterns = [(re.compile(pattern, re.DOTALL), reason) for pattern, reason in rules.items()]
    for name in names:
        reasons = [reason for pattern, reason in patterns if not pattern.fullmatch(name)]
        if longest and not reasons and max(len(part.encode()) for part in name.split("/")) > longest:
            reasons = [f"has more than {longest} bytes"]
        if reasons:
            yield SemplesError(where, f"{kind} {name!r} {reasons[0]}", "another name", remedy)
