"""What every HTML page of the project must have, and a browser that shows pages."""

import runpy
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from semples.errors import SemplesError

SCREENSHOTS = runpy.run_path(str(Path(__file__).parents[1] / "docs/images/screenshots.py"))
NO_END = {"meta", "link", "img", "input", "br", "option"}


class Reader(HTMLParser):
    """Collects the tags of a page in order, and checks that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []  # tag, attributes, tags around it
        self.path: list[str] = []
        self.feed(text)
        assert not self.path

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), tuple(self.path)))
        if tag not in NO_END:
            self.path.append(tag)

    def handle_endtag(self, tag):
        if tag not in NO_END:
            assert self.path.pop() == tag


def check_page(text: str) -> None:
    """Assert language, title, headings without gaps, descriptions of pictures, labels of fields, and unique ids."""
    tags = Reader(text).tags
    names = [tag for tag, _, _ in tags]
    assert next(attributes for tag, attributes, _ in tags if tag == "html")["lang"] == "en"
    assert all(names.count(name) == 1 for name in ("title", "main", "h1"))
    levels = [int(tag[1]) for tag in names if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(deeper <= level + 1 for level, deeper in pairwise(levels))
    for tag, attributes, around in tags:
        assert tag != "img" or (attributes["alt"] or "").strip()
        assert tag not in ("input", "select") or "label" in around
        assert int(attributes.get("tabindex") or 0) <= 0  # a positive one breaks the order of the page
    ids = [attributes["id"] for _, attributes, _ in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def in_browser(page: Path, script: str = "", fragment: str = "") -> str:
    """Return what a browser makes of a page with one more script; the page must write nothing to the console."""
    try:
        browser = SCREENSHOTS["find_browser"]()
    except SemplesError:
        pytest.skip("no chromium here")
    copy = page.with_name(f"copy of {page.name}")
    copy.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    done = SCREENSHOTS["visit"](browser, f"{copy.as_uri()}{fragment}", "--dump-dom")
    assert not SCREENSHOTS["messages"](done)
    return done.stdout
