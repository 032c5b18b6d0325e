"""No text of a user reaches a shell unquoted."""

import json
import sys

import pytest
from outside import run

pytestmark = pytest.mark.fault("hostile inputs refused")

HOSTILE = """it's; touch hacked; $(touch hacked) `touch hacked` {wildcards.x} "a" \\"""
RECORDER = f"""#!{sys.executable} -IS
import json, os, pathlib, sys
names = ("SEMPLES_RUN", "PYTHONPATH")
pathlib.Path("record.json").write_text(json.dumps([sys.argv[1:], {{name: os.environ[name] for name in names}}]))
sys.exit(1)
"""


@pytest.fixture
def record(tmp_path, installed, sources):
    """A function that starts the job `data` and returns the words and the environment that its command was given."""
    program = tmp_path / "programs" / "python"
    program.parent.mkdir()
    program.write_text(RECORDER, encoding="utf-8")
    program.chmod(0o755)

    def call(config: dict, snakefile=sources / "workflow" / "Snakefile") -> tuple[list[str], dict[str, str]]:
        folder = tmp_path / "work"
        folder.mkdir()
        (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
        flags = ("--snakefile", snakefile, "--cores", 1, "--until", "data")
        text = run(folder, installed, "-m", "snakemake", *flags, programs=program.parent, fails=True)
        assert (folder / "record.json").exists(), text
        assert not list(folder.rglob("hacked"))
        return json.loads((folder / "record.json").read_text(encoding="utf-8"))

    return call


def test_settings_of_run_arrive_as_they_are(record):
    words, environment = record({"preset": "mini", "run": {"cache_folder": HOSTILE}})
    assert words[:3] == ["-m", "semples", "data"]
    assert json.loads(environment["SEMPLES_RUN"])["cache_folder"] == HOSTILE


def test_settings_of_a_stage_arrive_as_they_are(record, tmp_path):
    root = tmp_path / HOSTILE.replace("{wildcards.x}", "")  # a path with braces is refused
    (root / "dog").mkdir(parents=True)
    (root / "dog" / "1.jpg").touch()
    words, _ = record({"preset": "photos", "data": {"root": str(root)}})
    assert json.loads(words[words.index("--config") + 1])["data"]["root"] == str(root)


def test_a_repository_under_any_path(record, sources, tmp_path):
    link = tmp_path / "it's; $(touch hacked) : x"
    link.symlink_to(sources, target_is_directory=True)
    words, environment = record({"preset": "mini"}, link / "workflow" / "Snakefile")
    assert words[:3] == ["-m", "semples", "data"]
    assert (tmp_path / "work" / environment["PYTHONPATH"] / "semples" / "__init__.py").exists()
