"""What a release says of itself agrees, and the container files install it from the lock. No image is built."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import semples

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONTAINERS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "containers").iterdir()}
COPIED = {  # what the lines that copy files look like
    "Containerfile": r"^COPY (.*) \S+$",
    "semples.def": r"^ +(\S+) /opt/semples/\1$",
}
WITH_TORCH = re.compile(r"nvidia-|cuda-|triton")  # versions that torch alone decides


def test_the_changelog_and_the_citation_name_the_version_and_its_date():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    version, date = headings[1].split(" - ")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert semples.__version__ == version == citation["version"]
    assert date == str(citation["date-released"])
    dates = [heading.split(" - ")[1] for heading in headings[1:]]
    assert dates == sorted(dates, reverse=True)


def test_a_release_is_changed_in_the_order_of_keep_a_changelog():
    order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    for release in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        kinds = re.findall(r"^### (.*)$", release, re.MULTILINE)
        assert kinds == [kind for kind in order if kind in kinds]


def test_the_forms_for_errors_and_numbers_require_the_report():
    for name in ("bug", "number"):
        form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text(encoding="utf-8"))
        (field,) = (field for field in form["body"] if field.get("id") == "report")
        assert "`semples report-bug > bug.txt`" in field["attributes"]["description"]
        assert field["validations"] == {"required": True}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_copies_what_the_package_is_built_from(name):
    copied = set(" ".join(re.findall(COPIED[name], CONTAINERS[name], re.MULTILINE)).split())
    assert all((ROOT / path).exists() for path in copied)
    needed = {"pyproject.toml", "setup.py", "constraints.txt", "semples", PROJECT["readme"], *PROJECT["license-files"]}
    beside = re.findall(r'": "(\w+)"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert {*needed, *beside} <= copied
    assert beside == ["workflow", "envs"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_installs_from_the_lock(name):
    (line,) = re.findall(r"pip install .*", CONTAINERS[name])
    assert "--constraint constraints.txt" in line
    extras = re.search(r"'\.\[(.*)\]'", line)[1].split(",")
    assert set(extras) == set(PROJECT["optional-dependencies"]) - {"dev", "docs"}
    (version,) = re.findall(r"python:(\d+\.\d+)-slim", CONTAINERS[name])
    assert f"{version}.0" in SpecifierSet(PROJECT["requires-python"])


def test_the_lock_names_all_that_is_installed_with_the_package():
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    locked = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    groups = PROJECT["optional-dependencies"]
    waiting = [*PROJECT["dependencies"], *(line for lines in groups.values() for line in lines)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = Requirement(waiting.pop())
        name = canonicalize_name(wanted.name)
        for extra in {"", *wanted.extras} - {extra for other, extra in seen if other == name}:
            seen.add((name, extra))
            lines = [Requirement(line) for line in metadata.requires(name) or []]
            active = [line for line in lines if not line.marker or line.marker.evaluate({"extra": extra})]
            waiting += [str(line) for line in active if not WITH_TORCH.match(line.name)]
    assert {name for name, _ in seen} - locked == set()
