"""Environments outside the repository, with and without the wheel, and a git clone of the working tree."""

import shutil
import sys
from pathlib import Path

import pytest
from outside import environment, run

ROOT = Path(__file__).parents[2]
SOURCES = ("semples", "workflow", "envs", "config", ".test", "pyproject.toml", "setup.py", "README.md", "LICENSE")
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info", ".snakemake", "results")


@pytest.fixture(scope="session")
def sources(tmp_path_factory) -> Path:
    """A copy of the files that a wheel is built from and a git source holds."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=IGNORED)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def wheel(sources, tmp_path_factory) -> Path:
    """The wheel, built from a second copy, which then holds the leftovers of the build."""
    build, folder = (tmp_path_factory.mktemp(name) for name in ("build", "wheel"))
    shutil.copytree(sources, build, dirs_exist_ok=True)
    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run(folder, sys.executable, "-m", "pip", "wheel", build, *flags, "--wheel-dir", folder)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment in which the wheel is installed."""
    python = environment(tmp_path_factory.mktemp("installed") / "venv")
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(wheel.parent, *pip, "install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", wheel)
    return python


@pytest.fixture(scope="session")
def bare(tmp_path_factory) -> Path:
    """The interpreter of an environment with Snakemake and without semples."""
    python = environment(tmp_path_factory.mktemp("bare") / "venv")
    text = run(python.parent, python, "-c", "import snakemake, semples", fails=True)
    assert "No module named 'semples'" in text
    return python


@pytest.fixture(scope="session")
def repository(sources, tmp_path_factory) -> Path:
    """A git repository of the working tree, as the tag `v0` and the branch `main`; no file is checked out."""
    tree, clone = (tmp_path_factory.mktemp(name) for name in ("tree", "clone"))
    shutil.copytree(sources, tree, dirs_exist_ok=True)
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main")
    for command in (("init",), ("add", "--all"), ("commit", "--message", "working tree"), ("tag", "v0")):
        run(tree, *git, *command)
    run(tree, *git, "clone", "--no-checkout", tree, clone)
    return clone
