"""The wheel, installed outside the repository: it holds all files, and its commands and its workflow work."""

import re
import shutil
import sys
import venv
import zipfile
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from outside import run

from semples import __version__
from semples.tools.init import TEMPLATES

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/masks_from_labels.py"
PRESETS = sorted(path.stem for path in (ROOT / "semples/config/presets").glob("*.yaml"))


def files_below(folder: Path) -> set[str]:
    """Paths of all files below a folder, relative to it, without Python's caches."""
    return {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }


def test_the_wheel_holds_the_package_and_the_workflow_and_nothing_else(wheel, sources):
    names = zipfile.ZipFile(wheel).namelist()
    expected = {f"semples/{name}" for name in files_below(sources / "semples")}
    for folder in ("workflow", "envs"):
        expected |= {f"semples/{folder}/{name}" for name in files_below(sources / folder)}
    expected.discard("semples/workflow/scripts/train_mini_guide.py")  # for developers
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert "semples/py.typed" in expected


def test_a_source_archive_makes_the_same_wheel(wheel, sources, tmp_path):
    tree = shutil.copytree(sources, tmp_path / "tree")
    build = "from setuptools.build_meta import build_sdist; import sys; print(build_sdist(sys.argv[1]))"
    run(tree, sys.executable, "-c", build, tmp_path)
    (archive,) = tmp_path.glob("*.tar.gz")
    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run(tmp_path, sys.executable, "-m", "pip", "wheel", archive, *flags)
    assert sorted(zipfile.ZipFile(tmp_path / wheel.name).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_the_command_is_there_and_imports_the_installed_package(installed, tmp_path):
    assert "init" in run(tmp_path, installed.with_name("semples"), "--help")
    text = run(tmp_path, installed, "-c", "import semples; print(semples.__file__)")
    assert Path(text.strip()).is_relative_to(installed.parents[1])


def test_help_and_version_need_no_other_package(wheel, tmp_path):
    venv.create(tmp_path / "empty", symlinks=True)
    python = tmp_path / "empty" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(tmp_path, *pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    assert "report-bug" in run(tmp_path, python.with_name("semples"), "--help")
    assert run(tmp_path, python, "-c", "import semples; print(semples.__version__)").split() == [__version__]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_settings_of_every_preset(installed, tmp_path, preset):
    run(tmp_path, installed.with_name("semples"), "init", tmp_path, "--preset", preset)
    settings = yaml.safe_load(run(tmp_path, installed.with_name("semples"), "config", "show"))
    assert settings["preset"] == preset
    assert settings["experiments"]


@pytest.mark.parametrize("flags", [(), ("--copy",)], ids=["module", "copy"])
def test_a_new_folder_runs_the_installed_workflow(installed, tmp_path, flags):
    run(tmp_path, installed.with_name("semples"), "init", "demo", *flags)
    assert {path.name for path in (tmp_path / "demo").iterdir()} - {"envs"} == {"config.yaml", "workflow"}
    run(tmp_path, sys.executable, "-m", "snakefmt", "--check", "demo/workflow")
    text = run(tmp_path / "demo", installed, "-m", "snakemake", "-n", "--printshellcmds")
    assert "workflow specific profile" in text
    assert "segment_masks" in text
    (link,) = (tmp_path / "demo" / ".snakemake" / "semples").glob("*/semples")
    assert link.resolve().is_relative_to(installed.parents[1])
    assert ".." not in (tmp_path / "demo/workflow/Snakefile").read_text(encoding="utf-8").split('"')
    assert str(installed.parents[1]) not in (tmp_path / "demo/workflow/Snakefile").read_text(encoding="utf-8")


def test_init_overwrites_nothing(installed, tmp_path):
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow" / "Snakefile").write_text("mine", encoding="utf-8")
    text = run(tmp_path, installed.with_name("semples"), "init", fails=True)
    assert "workflow" in text
    assert "it exists" in text
    assert files_below(tmp_path) == {"workflow/Snakefile"}
    assert (tmp_path / "workflow" / "Snakefile").read_text(encoding="utf-8") == "mine"


def test_init_names_the_presets(installed, tmp_path):
    text = run(tmp_path, installed.with_name("semples"), "init", "demo", "--preset", "nope", fails=True)
    assert "'mini'" in text
    assert not (tmp_path / "demo").exists()


def test_the_three_templates_of_the_configuration_are_the_same():
    for path in (ROOT / "config.yaml", ROOT / "config" / "config.yaml"):
        assert path.read_bytes() == (TEMPLATES / "config.yaml").read_bytes(), path


def test_the_script_of_the_example_runs_in_an_empty_folder(installed, tmp_path):
    text = re.sub(r"epochs: \d+", "epochs: 1", EXAMPLE.read_text(encoding="utf-8"))
    (tmp_path / "example.py").write_text(text, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    printed = run(tmp_path / "empty", installed, tmp_path / "example.py")
    assert re.search(r"8 of 8 images with ground truth have results\ncrf mIoU 0\.\d+ ", printed)
    assert {path.name for path in (tmp_path / "empty").glob("*.png")} == {"cams.png", "masks.png", "corrected.png"}


def test_the_notebook_has_the_cells_of_the_script_and_small_outputs():
    path = EXAMPLE.with_suffix(".ipynb")
    notebook = nbformat.read(path, as_version=4)
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in jupytext.read(EXAMPLE).cells]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {output.output_type for output in outputs} == {"stream", "display_data"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert path.stat().st_size < 300_000


@pytest.mark.slow
def test_the_notebook_runs_in_an_empty_folder(installed, tmp_path):
    shutil.copy(EXAMPLE.with_suffix(".ipynb"), tmp_path / "example.ipynb")
    execute = "from nbclient.cli import main; main()"
    run(tmp_path, installed, "-c", execute, "example.ipynb", "--output=done.ipynb")
    cells = nbformat.read(tmp_path / "done.ipynb", as_version=4).cells
    printed = "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))
    assert float(re.search(r"crf mIoU (0\.\d+) ", printed)[1]) > 0.4
