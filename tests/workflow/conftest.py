"""What the workflow's tests need: a folder to run in, programs that stand in for others, and Snakemake itself."""

import contextlib
import sys
from pathlib import Path

import outside
import pytest
import yaml
from snakemake.api import SnakemakeApi
from snakemake.settings.types import OutputSettings, Quietness, ResourceSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def workflow_rules(tmp_path_factory) -> dict:
    """Snakemake's own rules of the workflow, by name, for the preset mini."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "config.yaml").write_text("preset: mini\n", encoding="utf-8")
    with contextlib.chdir(folder), SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        resources = ResourceSettings(cores=1)
        workflow = api.workflow(resource_settings=resources, snakefile=ROOT / "workflow" / "Snakefile")
        return {rule.name: rule for rule in workflow._workflow.rules}


@pytest.fixture(scope="session")
def workflow_folder(tmp_path_factory):
    """A function that makes a working directory: one variant on six drawn pictures, and whatever settings are given."""

    def make(**settings) -> Path:
        folder = tmp_path_factory.mktemp("workflow")
        preset = {"data": {"scenes": {"train": 4, "val": 2}}, "cpl": {"length": 8}, "experiments": {"semples": {}}}
        preset |= settings
        (folder / "tiny.yaml").write_text(yaml.safe_dump(preset), encoding="utf-8")
        (folder / "config.yaml").write_text("preset: tiny.yaml\n", encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def snakemake():
    """A function that runs the workflow in a folder, with `programs` first in PATH; it returns all that was printed."""

    def run(folder: Path, *arguments: object, programs: Path | None = None, fails: bool = False) -> str:
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow" / "Snakefile", *arguments]
        return outside.run(folder, *command, fails=fails, programs=programs, SEMPLES_MATMUL="onednn")

    return run


@pytest.fixture(scope="session")
def write_program():
    """A function that writes an executable file; `#!python` in its first line becomes this interpreter."""

    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("#!python", f"#!{sys.executable} -IS"), encoding="utf-8")
        path.chmod(0o755)

    return write
