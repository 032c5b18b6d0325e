"""`snakemake --use-conda`: every environment is asked for, and a job runs in its rule's environment.

A stand-in takes conda's place: it downloads and solves nothing, and an environment of its making is a `python` that
notes its call and hands it to the running interpreter.
"""

import sys
from pathlib import Path

import pytest

CONDA = """#!python
import json, sys
from pathlib import Path

given, home = sys.argv[1:], Path(__file__).parents[1]
if given == ["--version"]:
    print("conda 24.7.1")
elif given[0] == "info":
    print(json.dumps({"conda_prefix": str(home), "platform": "linux-64"}))
elif given[0] == "config":
    print(json.dumps({"get": {"channel_priority": "strict"}}))
elif given[:2] == ["env", "create"]:
    prefix = Path(given[given.index("--prefix") + 1])
    python = prefix / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text((home / "environment_python").read_text())
    python.chmod(0o755)
elif given[0] != "clean":
    sys.exit(f"the stand-in for conda does not know: {given}")
"""
ACTIVATE = """export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"
"""
ENVIRONMENT_PYTHON = f"""#!/bin/sh
echo "$PYTHONPATH|$*" >> "$CONDA_PREFIX/calls"
exec {sys.executable} "$@"
"""


@pytest.fixture(scope="module")
def conda(tmp_path_factory, write_program) -> Path:
    """The folder of the stand-in's programs."""
    home = tmp_path_factory.mktemp("conda")
    write_program(home / "bin" / "conda", CONDA)
    write_program(home / "bin" / "activate", ACTIVATE)
    write_program(home / "environment_python", ENVIRONMENT_PYTHON)
    return home / "bin"


def test_every_environment_file_is_asked_for(workflow_folder, snakemake, conda, root):
    folder = workflow_folder()
    snakemake(folder, "--use-conda", "--conda-create-envs-only", "--cores", 1, programs=conda)
    asked = sorted(file.read_text() for file in (folder / ".snakemake" / "conda").glob("*.yaml"))
    assert asked == sorted(file.read_text() for file in (root / "envs").glob("*.yaml"))


def test_a_job_runs_in_the_environment_of_its_rule(workflow_folder, snakemake, conda, root):
    folder = workflow_folder()
    manifest = "results/tiny/data/manifest.csv"
    snakemake(folder, "--use-conda", "--cores", 1, manifest, programs=conda)
    assert len((folder / manifest).read_text().splitlines()) == 1 + 6
    (environment,) = (folder / ".snakemake" / "conda").glob("*.yaml")
    assert environment.read_text() == (root / "envs" / "data.yaml").read_text()
    search_path, _, call = (environment.with_suffix("") / "calls").read_text().partition("|")
    assert call.startswith("-m semples data ")
    assert [path.name for path in (folder / search_path).iterdir()] == ["semples"], "nothing of another environment"
    assert (folder / search_path / "semples").samefile(root / "semples")
