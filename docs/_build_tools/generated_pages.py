"""A Sphinx extension that puts generated tables into pages, and lets pages link to Markdown outside docs/."""

import re
from typing import Any

from command_tables import command_sections
from settings_tables import settings_tables

GENERATED = {"settings": settings_tables, "commands": command_sections}
OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+\.md)\)")


def complete(page: str, text: str) -> str:
    """Return a page with its tables in place of the comment, and links to Markdown outside docs/ as downloads."""
    if page in GENERATED:
        text = text.replace("<!-- generated -->", GENERATED[page]())
    return OUTSIDE.sub(r"{download}`\1 <\2>`", text)


def setup(app: Any) -> None:
    """Complete every page that Sphinx reads."""
    app.connect("source-read", lambda _, page, source: source.__setitem__(0, complete(page, source[0])))
