"""The workflow from a git source, as snakedeploy deploys it, and in `.test`, where semples is not installed."""

import shutil
from pathlib import Path

import pytest
from outside import run

MODULE = """
configfile: "config/config.yaml"


module semples:
    snakefile:
        {source}
    config:
        config


use rule * from semples
"""


@pytest.fixture
def deployed(tmp_path, sources):
    """A function that writes a deployment of a git source, with the template configuration, as snakedeploy does."""

    def write(source: str) -> Path:
        shutil.copytree(sources / "config", tmp_path / "config")
        (tmp_path / "workflow").mkdir()
        (tmp_path / "workflow" / "Snakefile").write_text(MODULE.format(source=source), encoding="utf-8")
        return tmp_path

    return write


def test_a_module_from_a_branch_of_a_git_source(bare, deployed, repository):
    folder = deployed(f'gitfile("{repository}", path="workflow/Snakefile", ref="main")')
    text = run(folder, bare, "-m", "snakemake", "-n", "--printshellcmds")
    assert "python -m semples segment" in text
    packages = [path for path in (folder / ".snakemake/semples").glob("*/semples") if not path.is_symlink()]
    assert [(path / "__init__.py").exists() for path in packages] == [True]


def test_a_job_of_a_git_source_runs_once(bare, deployed, repository):
    folder = deployed(f'gitfile("{repository}", path="workflow/Snakefile", tag="v0")')
    (folder / "config" / "config.yaml").write_text("preset: mini\ndata: {scenes: {train: 4, val: 2}}\n")
    manifest = "results/mini/data/manifest.csv"
    run(folder, bare, "-m", "snakemake", "--cores", 1, manifest)
    assert len((folder / manifest).read_text().splitlines()) == 1 + 6
    assert "Nothing to be done" in run(folder, bare, "-m", "snakemake", "--cores", 1, manifest)


def test_a_module_from_a_host_of_git_repositories(bare, deployed, repository, tmp_path):
    """GitHub cannot be reached in a test: a cache holds the clone that Snakemake would have made."""
    cache = tmp_path / "cache" / "snakemake" / "snakemake" / "source-cache" / "snakemake-git-cache"
    run(tmp_path, "git", "clone", "--bare", repository, cache / "github.com" / "owner" / "semples")
    source = 'github("owner/semples", path="workflow/Snakefile", tag="v0")'
    text = run(
        deployed(source), bare, "-m", "snakemake", "-n", "--printshellcmds", XDG_CACHE_HOME=str(tmp_path / "cache")
    )
    assert "python -m semples segment" in text


def test_a_workflow_without_its_package_says_what_to_install(bare, sources, tmp_path):
    shutil.copytree(sources / "workflow", tmp_path / "workflow")
    shutil.copy(sources / "config" / "config.yaml", tmp_path)
    text = run(tmp_path, bare, "-m", "snakemake", "-n", fails=True)
    assert "No module named 'semples'" in text
    assert "pip install" in text
    assert "Traceback" not in text


def test_dry_run_of_the_test_folder(bare, sources):
    text = run(sources, bare, "-m", "snakemake", "--directory", ".test", "-n")
    assert "segment_masks" in text


@pytest.mark.slow
def test_a_git_source_runs_to_the_end_and_reports(bare, deployed, repository, sources):
    folder = deployed(f'gitfile("{repository}", path="workflow/Snakefile", tag="v0")')
    shutil.copy(sources / ".test" / "config.yaml", folder / "config" / "config.yaml")
    run(folder, bare, "-m", "snakemake", "--cores", 2)
    run(folder, bare, "-m", "snakemake", "--report", "report.html")
    caption = (sources / "workflow" / "report" / "training.rst").read_text(encoding="utf-8").split()[:3]
    assert " ".join(caption) in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_test_folder_runs_to_the_end(bare, sources):
    run(sources, bare, "-m", "snakemake", "--directory", ".test", "--cores", 2)
    lines = (sources / ".test/results/test/tables/results.md").read_text().splitlines()
    assert lines[2].startswith("| csr-learned | ")
