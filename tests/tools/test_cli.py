"""The table of commands, and errors in what the command line itself reads."""

import inspect
import io
import json
import sys
from importlib import import_module

import pytest

from semples.cli import main
from semples.cli.arguments import flag_of
from semples.cli.commands import COMMANDS

QUICK = json.dumps({"data": {"source": "mini", "scenes": {"train": 1, "val": 1}}})


def destination(names: tuple[str, ...], options: dict) -> str:
    return options.get("dest", names[0].lstrip("-").replace("-", "_"))


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_a_command_passes_each_flag_to_its_function(row):
    module, _, name = row.function.partition(":")
    function = getattr(import_module(f"semples.{module}"), name)
    keys = row.flags.replace("|", " ").split()
    values = {destination(*flag_of(key)) for key in keys} - {"action"}
    if "set" not in values and "config" in values:
        values = values - {"config", "run"} | {"settings"}
    inspect.signature(function).bind(**dict.fromkeys(values - {"set", "threads"}))


def test_a_command_prints_into_the_stream_of_a_notebook(monkeypatch):
    stream = io.StringIO()  # as that of Jupyter, no TextIOWrapper
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["config", "show", "--config", QUICK]) == 0
    assert "scenes:" in stream.getvalue()


def error(capsys, *words: object) -> str:
    """Run a command that must fail with the one clear error; return its text."""
    assert main([str(word) for word in words]) == 1
    text = capsys.readouterr().err
    assert all(part in text for part in ("error: ", "found: ", "expected: ", "remedy: "))
    return text


def test_an_unknown_experiment_is_an_error(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("preset: mini\n")
    text = error(capsys, "config", "show", "--config", tmp_path / "config.yaml", "--experiment", "nope")
    assert "found:    no experiment 'nope'\n  expected: one of [" in text
    assert "'csr-learned'" in text


def test_settings_without_experiments_are_an_error(capsys):
    text = error(capsys, "config", "show", "--config", QUICK, "--experiment", "csr-learned")
    assert "expected: a YAML file that names `experiments`; JSON text has none" in text


@pytest.mark.parametrize("run", ["device: cpu", "[1]", "null", '{"device": "cpu"'])
def test_run_settings_that_are_no_json_object_are_an_error(tmp_path, capsys, monkeypatch, run):
    command = ("data", "--config", QUICK, "--out", tmp_path / "data")
    assert "error: --run\n  found:    " in error(capsys, *command, "--run", run)
    monkeypatch.setenv("SEMPLES_RUN", run)
    assert "error: $SEMPLES_RUN\n  found:    " in error(capsys, *command)
    assert not (tmp_path / "data").exists()


def test_the_flag_replaces_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMPLES_RUN", "unreadable")
    assert main(["data", "--config", QUICK, "--run", "{}", "--out", str(tmp_path / "data")]) == 0
    assert (tmp_path / "data/manifest.csv").exists()


@pytest.mark.parametrize(
    "wrong", ["--unknown", "--evaluation=no_path", "--evaluation=a=b.json", "--evaluation=a:b=c.json"]
)
def test_a_wrong_flag_ends_with_exit_code_2(tmp_path, wrong):
    with pytest.raises(SystemExit) as end:
        main(["tables", "results", wrong, "--out", str(tmp_path)])
    assert end.value.code == 2


@pytest.mark.parametrize(
    "wrong",
    [
        ["predict", "a.jpg", "--checkpoint", "m", "--out", "o", "--max-side", "-5"],
        ["predict", "a.jpg", "--checkpoint", "m", "--out", "o", "--max-side", "1e3"],
        ["predict", "a.jpg", "--checkpoint", "m", "--out", "o", "--scales", "1", "0"],
        ["predict", "a.jpg", "--checkpoint", "m", "--out", "o", "--scales", "nan"],
        ["predict", "a.jpg", "--checkpoint", "m", "--out", "o", "--threads", "0"],
        ["plan", "--at-once", "0"],
        ["gallery", "cams.h5", "--out", "o", "--images", "-1"],
        ["gallery", "cams.h5", "--out", "o", "--threshold", "1.5"],
        ["export", "--checkpoint", "m", "--out", "o", "--size", "512", "0"],
        ["slm", "--manifest", "m", "--guide", "g", "--start", "s", "--out", "o", "--seed", "-1"],
        *(["join", "--out", "o", "--shards"], ["tables", "results"]),
        *(
            ["cams", "--manifest", "m", "--split", "t", "--generator", "g", "--out", "o", "--shard", shard]
            for shard in ("0-of-2", "3-of-2", "1-of-0", "x", "1-of-2-of-3", "-1-of-2")
        ),
    ],
    ids=" ".join,
)
def test_a_value_that_no_command_can_use_is_a_wrong_flag(wrong, capsys):
    with pytest.raises(SystemExit) as end:
        main(wrong)
    assert end.value.code == 2
    assert "usage: semples" in capsys.readouterr().err
