"""The documentation: links and anchors lead somewhere, generated pages are complete, and the site can be built."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import outside
import pytest
from generated_pages import complete
from pydantic import BaseModel

import semples
from semples.cli.commands import COMMANDS
from semples.config.settings import Config

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
FILES = [*PAGES, *ROOT.glob("*.md"), *ROOT.glob(".github/*.md"), ROOT / "config/README.md"]
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text(path: Path) -> str:
    """A page with its generated tables."""
    return complete(path.stem, path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST name them."""
    titles = re.findall(r"^#{1,6} (.*)$", FENCED.sub("", text(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """The keys of the settings; those inside a section with its name in front."""
    sections = {name: field.annotation for name, field in model.model_fields.items()}
    sections = {name: kind for name, kind in sections.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}
    inner = [key for name, kind in sections.items() for key in keys(kind, f"{prefix}{name}.")]
    return [f"{prefix}{name}" for name in model.model_fields if name not in sections] + inner


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(path):
    links = [link for link in LINK.findall(FENCED.sub("", path.read_text(encoding="utf-8"))) if ":" not in link]
    for link in links:
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.is_file(), link  # Sphinx cannot copy a folder
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", [path for path in PAGES if path.stem != "index"], ids=lambda path: path.stem)
def test_the_navigation_names_every_page_once(path):
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", (ROOT / "docs/index.md").read_text(encoding="utf-8"), re.DOTALL)
    names = re.findall(r"^(?:.* <)?([a-z0-9_]+)>?$", "\n".join(blocks), re.MULTILINE)
    assert names.count(path.stem) == 1


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_page_has_a_command_or_code(path):
    assert re.search(r"\n\n    \S|^```(python|$)", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_of_settings_has_every_key():
    assert len(keys(Config)) > 100
    rows = re.findall(r"^\| `([^`]+)` \| .+ \| .+ \| .+ \|", text(ROOT / "docs/settings.md"), re.MULTILINE)
    assert sorted(key for key in rows if "<name>" not in key) == sorted(keys(Config))


def test_the_page_of_commands_has_every_command():
    titles = re.findall(r"^### semples (.*)$", text(ROOT / "docs/commands.md"), re.MULTILINE)
    assert sorted(titles) == sorted(row.name for row in COMMANDS)


def test_the_page_of_python_has_every_public_name():
    names = set(semples.__all__) - {"__version__"}
    assert names <= set(re.findall(r"^\.\. auto\w+:: semples\.(\w+)$", text(ROOT / "docs/api.md"), re.MULTILINE))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built without a warning."""
    if not find_spec("furo"):
        pytest.skip("needs the extra docs: pip install '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    (command,) = re.findall(
        r"\tsphinx-build (.*) docs site$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    outside.run(ROOT, sys.executable, "-m", "sphinx", *command.split(), "-d", out / ".doctrees", "docs", out)
    return out


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A function that opens a file in a headless Chromium; it returns the page after its scripts, and the console."""
    chromium = shutil.which("chromium") or pytest.skip("needs the program chromium")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += ["--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--virtual-time-budget=20000"]
    flags += [f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--dump-dom"]

    def run(address: str) -> tuple[str, list[str]]:
        done = subprocess.run([chromium, *flags, address], capture_output=True, text=True, timeout=300, check=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return run


def test_the_site_has_every_page_and_asks_no_other_host(site):
    pages = [path.stem for path in PAGES]
    assert {path.stem for path in site.glob("*.html")} == {*pages, "search", "genindex", "py-modindex"}
    loaded = re.compile(r"<(script|img|iframe)[^>]* src=.https?:|<link[^>]* rel=.(stylesheet|preload)[^>]*https?:")
    assert not [name for name in pages if loaded.search((site / f"{name}.html").read_text(encoding="utf-8"))]


@pytest.mark.slow
def test_a_browser_opens_the_pages_from_a_folder_and_finds_the_crf(site, opened):
    for path in PAGES[::2]:
        page, console = opened((site / f"{path.stem}.html").as_uri())
        assert "</html>" in page
        assert console == []
    page, console = opened((site / "search.html").as_uri() + "?q=CRF")
    assert console == []
    results = re.findall(r'<li class="[^"]*"><a href="([\w-]+)\.html', page)
    assert {"choices", "settings", "commands"} <= set(results)
