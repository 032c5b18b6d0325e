"""Text for the cells of Markdown tables."""

import re


def cell(content: str) -> str:
    """Return text on one line, with its bars escaped."""
    return content.replace("\n", " ").replace("|", "\\|")


def prose(docstring: str) -> str:
    """Return a docstring or a help text for a cell: outside code it holds no HTML, and a page of docs/ is a link."""
    parts = cell(docstring).split("`")
    for number, part in list(enumerate(parts))[::2]:
        parts[number] = re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", part.replace("<", "&lt;").replace("*", r"\*"))
    return "`".join(parts)
