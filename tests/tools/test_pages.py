"""The pages of the tools: readable on light and dark screens."""

import re
import runpy
from itertools import product
from pathlib import Path

import pytest

from semples.tools import pages

STYLE = (pages.FOLDER / "pages.css").read_text(encoding="utf-8")
SCHEMES = dict(zip(("light", "dark"), re.findall(r":root {(.*?)}", STYLE, re.DOTALL), strict=True))


def luminance(colour: str) -> float:
    """Relative luminance of "#rgb" or "#rrggbb", after WCAG 2.2."""
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_has_the_contrast_of_wcag_aa(scheme):
    colours = dict(re.findall(r"--(\w+): #([0-9a-f]+)", SCHEMES[scheme]))
    for text, ground in product(("text", "muted", "accent"), ("page", "code")):
        darker, brighter = sorted([luminance(colours[text]), luminance(colours[ground])])
        assert (brighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)


@pytest.mark.parametrize("page", ["gallery.html", "report.html"])
def test_a_page_takes_its_colours_from_the_style(page):
    text = (pages.FOLDER / page).read_text(encoding="utf-8")
    assert "$style" in text
    assert not re.search(r"[:\s]#[0-9a-fA-F]{3,6}\b(?!\")", text.partition("</style>")[0])


def test_screenshots_without_a_browser_say_what_to_install(monkeypatch, tmp_path, capsys):
    script = runpy.run_path(str(Path(__file__).parents[2] / "docs/images/screenshots.py"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert script["main"](tmp_path, tmp_path) == 1
    assert "no browser\n  expected: one of chromium" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
