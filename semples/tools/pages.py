"""The HTML pages of the tools: templates that share one style, for light and dark screens."""

from pathlib import Path
from string import Template

FOLDER = Path(__file__).parent


def fill(template: str, **parts: str) -> str:
    """Return the page of the file `template` in this folder, with HTML for its names and the style of all pages."""
    style = (FOLDER / "pages.css").read_text(encoding="utf-8")
    return Template((FOLDER / template).read_text(encoding="utf-8")).substitute(parts, style=style)
