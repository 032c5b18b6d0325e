"""docs/licences.md says of every dependency what its own metadata says."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GROUPS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
NAMES = {Requirement(line).name: group for group, lines in reversed(GROUPS.items()) for line in lines}
LOCKED = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
COPYLEFT = re.compile(r"\b(A?L?GPL|MPL|EUPL|EPL|CDDL|General Public|Mozilla)")


def terms(package: str) -> str:
    """The licence in the metadata of an installed package: an expression, a short text, or classifiers."""
    fields = metadata.metadata(package)
    text = fields.get("License-Expression") or fields.get("License") or ""
    lines = [line.rpartition(" :: ")[2] for line in fields.get_all("Classifier") or [] if line.startswith("License")]
    return text if text and len(text) < 60 and "\n" not in text else ", ".join(lines)


@pytest.mark.parametrize("name", NAMES)
def test_every_dependency_has_its_row(name):
    assert f"| {name} | {NAMES[name] or 'always'} | {terms(name)} |" in PAGE


def test_the_page_names_no_other_dependency():
    rows = re.findall(r"^\| ([\w.-]+) \| (?:always|[a-z0-9]+) \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(NAMES)


def test_every_package_of_the_lock_whose_terms_ask_for_sources_is_named():
    names = [name for name in LOCKED if COPYLEFT.search(terms(name))]
    paragraph = next(line for line in PAGE.split("\n\n") if line.startswith("Copyleft"))
    assert set(re.findall(r"`([\w.-]+)`", paragraph)) == set(names)


def test_every_package_of_the_lock_without_terms_is_named():
    paragraph = next(line for line in PAGE.split("\n\n") if line.startswith("No licence"))
    assert set(re.findall(r"`([\w.-]+)`", paragraph)) == {name for name in LOCKED if not terms(name)}
