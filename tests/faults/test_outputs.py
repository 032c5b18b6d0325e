"""Nothing but what semples wrote is ever replaced: planted folders and files survive every command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from semples import files
from semples.cli import _parser, main
from semples.cli.adapters import arguments, outputs
from semples.cli.arguments import flag_of
from semples.cli.commands import COMMANDS
from semples.errors import SemplesError
from semples.files import atomic_path, remove_leftovers, require_replaceable, write_text
from semples.training.checkpoint import Checkpoint, Position

WRITING = [row for row in COMMANDS if row.output]
WHOLE = [row for row in WRITING if row.output in ("file", "folder", "any", "figure")]
VALUES = {
    "--table": '{"name": "t", "title": "t", "rows": [], "legend": ""}',
    "--threshold": "0.5",
    "--library": "timm",
    "--format": "coco",
}


def words(row, out: Path, source: Path) -> list[str]:
    """A complete command line of a row, with `source` for all its required inputs."""
    line = row.name.split()
    for key in row.flags.split():
        (flag, *_), options = flag_of(key.split("|")[0])
        positional = not flag.startswith("-")
        if flag in ("--out", "--save"):
            line += [flag, str(out)]
        elif "=PATH" in options.get("metavar", ""):
            line += [flag, f"variant:0={source}"]
        elif flag == "--config":
            line += [flag, '{"data": {"source": "mini"}}'] if options.get("type") is None else []
        elif options.get("required") or "|" in key or (positional and options.get("nargs") != "?"):
            value = VALUES.get(flag, str(source) if options.get("type") is Path else "name")
            line += [value] if positional else [flag, value]
    return line + (["--image", "a"] if row.name == "inspect" else [])


def has_input(row) -> bool:
    return "in/source" in " ".join(words(row, Path("out"), Path("in/source")))


def refused(capsys, line: list[str], *parts: str) -> None:
    assert main(line) == 1
    text = capsys.readouterr().err
    assert all(part in text for part in ("choose another --out", *parts)), text


def plant(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/thesis.txt").write_text("precious")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def source(tmp_path) -> Path:
    write_text(tmp_path / "in/source", "an input")
    return tmp_path / "in/source"


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    """A working folder with a config.yaml, for the commands that read one."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    (tmp_path / "cwd/config.yaml").write_text("preset: mini\n")


@pytest.mark.usefixtures("in_tmp")
@pytest.mark.parametrize("row", WHOLE, ids=lambda row: row.name)
def test_a_folder_of_the_user_is_no_output(row, tmp_path, source, capsys):
    folder = plant(tmp_path / "mine")
    refused(capsys, words(row, folder, source), "a folder")
    assert contents(folder) == {"deep/thesis.txt": b"precious"}


@pytest.mark.usefixtures("in_tmp")
@pytest.mark.parametrize("row", WRITING, ids=lambda row: row.name)
def test_a_file_of_the_user_is_no_output(row, tmp_path, source, capsys):
    out = tmp_path / "mine.png"
    paths = [out] if row in WHOLE else [path for path, _ in outputs(row, out)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text("precious")
        refused(capsys, words(row, out, source), "a file")
        assert path.read_text() == "precious"
        path.unlink()


@pytest.mark.usefixtures("in_tmp")
@pytest.mark.parametrize("row", [row for row in WHOLE if has_input(row)], ids=lambda row: row.name)
def test_an_input_is_no_output(row, source, capsys):
    for out in (source, source.parent):
        refused(capsys, words(row, out, source), f"the input {source}")
        assert source.read_text() == "an input"


@pytest.mark.usefixtures("in_tmp")
@pytest.mark.parametrize("name", ["slm", "csr", "joint"])
def test_a_model_is_not_replaced_by_what_is_learned_from_it(name, tmp_path, capsys):
    start = tmp_path / "run/model.safetensors"
    write_text(start, "weights")
    row = next(row for row in COMMANDS if row.name == name)
    refused(capsys, words(row, start.parent, start), f"is the input {start}")
    assert start.read_text() == "weights"


def photographs(folder: Path) -> Path:
    for name in ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.full((9, 9, 3), len(name), np.uint8))
    return folder


@pytest.mark.parametrize("command", [["data"], ["data", "check"]])
def test_photographs_are_not_replaced_by_their_manifest(command, tmp_path, capsys):
    photos = photographs(tmp_path / "photos")
    before = contents(photos)
    settings = f'{{"data": {{"source": "photos", "root": "{photos}"}}, "run": {{"threads": 1}}}}'
    for out in (photos, tmp_path):
        refused(capsys, [*command, "--config", settings, "--out", str(out)], str(photos))
    refused(
        capsys, [*command, "--config", settings, "--out", str(photos / "cat")], "the file 0.png, which semples did not"
    )
    assert contents(photos) == before


def test_the_working_folder_is_no_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = '{"data": {"source": "mini", "scenes": {"train": 1, "val": 1}}}'
    for out in (".", "..", str(tmp_path)):
        refused(capsys, ["data", "--config", settings, "--out", out], "working folder")


def write_folder(path: Path, **texts: str) -> None:
    with atomic_path(path) as partial:
        partial.mkdir()
        for name, text in texts.items():
            (partial / name).write_text(text)


def test_an_own_file_is_replaced_also_after_a_touch_and_a_copy(tmp_path):
    write_text(tmp_path / "a/own.txt", "one")
    os.utime(tmp_path / "a/own.txt", (1, 1))
    write_text(tmp_path / "a/own.txt", "two")
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    write_text(tmp_path / "b/own.txt", "three")
    assert (tmp_path / "b/own.txt").read_text() == "three"


def test_an_own_file_that_was_changed_is_not_replaced(tmp_path):
    write_text(tmp_path / "own.txt", "one")
    (tmp_path / "own.txt").write_text("two")
    with pytest.raises(SemplesError, match="changed since"):
        write_text(tmp_path / "own.txt", "three")
    assert (tmp_path / "own.txt").read_text() == "two"


def test_a_change_in_the_middle_of_a_table_is_noticed(tmp_path):
    write_text(tmp_path / "table.csv", "0" * 1_000_000)
    text = "0" * 500_000 + "1" + "0" * 499_999
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(SemplesError, match="changed since"):
        write_text(tmp_path / "table.csv", "")
    assert (tmp_path / "table.csv").read_text() == text


def test_an_own_folder_is_replaced_as_a_whole(tmp_path):
    write_folder(tmp_path / "out", a="1", b="2")
    (tmp_path / "out/.snakemake_timestamp").touch()
    (tmp_path / "out/b").unlink()
    write_folder(tmp_path / "out", c="3")
    assert set(contents(tmp_path / "out")) == {"c", files.MARKS}
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["a", "note.txt", "deep/note.txt"])
def test_a_folder_with_a_changed_or_added_file_is_not_replaced(tmp_path, name):
    write_folder(tmp_path / "out", a="1")
    (tmp_path / "out/deep").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(SemplesError, match=f"the file {name}, which semples did not write"):
        write_folder(tmp_path / "out", a="2")
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_a_file_that_comes_while_the_work_runs_is_noticed(tmp_path):
    write_folder(tmp_path / "out", a="1")
    with pytest.raises(SemplesError, match="note"), atomic_path(tmp_path / "out") as partial:  # noqa: PT012
        partial.mkdir()
        (tmp_path / "out/note").write_text("mine")
    assert (tmp_path / "out/note").read_text() == "mine"
    assert names(tmp_path) == ["out"]


def test_a_folder_of_own_files_is_no_folder_output(tmp_path):
    write_text(tmp_path / "seed0/model.safetensors", "hours of training")
    with pytest.raises(SemplesError, match=r"model\.safetensors"):
        write_folder(tmp_path / "seed0", a="1")
    assert (tmp_path / "seed0/model.safetensors").exists()


def test_a_folder_is_not_replaced_by_a_file_nor_a_file_by_a_folder(tmp_path):
    write_folder(tmp_path / "folder", a="1")
    (tmp_path / "empty").mkdir()
    write_text(tmp_path / "file", "1")
    for name in ("folder", "empty"):
        with pytest.raises(SemplesError, match="a folder"):
            write_text(tmp_path / name, "2")
    with pytest.raises(SemplesError, match="a file"):
        write_folder(tmp_path / "file", a="2")
    with pytest.raises(SemplesError, match="a file, where a folder is needed"):
        write_text(tmp_path / "file/deep/name", "2")
    assert (tmp_path / "file").read_text() == "1"


def test_a_link_is_not_replaced(tmp_path):
    plant(tmp_path / "mine")
    for name, target in {"folder": "mine", "file": "mine/deep/thesis.txt", "nowhere": "nothing"}.items():
        (tmp_path / name).symlink_to(target)
        with pytest.raises(SemplesError, match="symbolic link"):
            write_text(tmp_path / name, "2")
    assert contents(tmp_path / "mine") == {"deep/thesis.txt": b"precious"}


def test_an_empty_folder_may_be_used(tmp_path):
    (tmp_path / "out").mkdir()
    write_folder(tmp_path / "out", a="1")
    assert (tmp_path / "out/a").read_text() == "1"


def test_a_crash_between_mark_and_name_leaves_a_replaceable_output(tmp_path, monkeypatch):
    write_text(tmp_path / "own.txt", "one")

    def crash(*_paths: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            write_text(tmp_path / "own.txt", "two")
    assert (tmp_path / "own.txt").read_text() == "one"
    write_text(tmp_path / "own.txt", "three")
    (tmp_path / "own.txt").unlink()  # as Snakemake does before a job
    write_text(tmp_path / "own.txt", "four")
    assert (tmp_path / "own.txt").read_text() == "four"


def test_processes_write_side_by_side_into_one_folder(tmp_path):
    program = (
        "import sys; from pathlib import Path; from semples.files import write_text\n"
        "for n in range(100): write_text(Path(sys.argv[1]) / f'{sys.argv[2]}-{n}', str(n))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    for process in [subprocess.Popen([*command, name]) for name in "abc"]:
        assert process.wait() == 0
    for name in "abc":
        for number in range(100):
            require_replaceable(tmp_path / f"{name}-{number}")


def test_equal_outputs_have_equal_lists(tmp_path):
    for name in ("one", "two"):
        write_folder(tmp_path / name, b="2", a="1")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_nothing_inside_an_unfinished_folder_is_listed(tmp_path):
    with atomic_path(tmp_path / "out") as partial:
        write_text(partial / "a", "1")
        assert names(partial) == ["a"]


def test_checkpoints_of_somebody_else_stay(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("precious")
    with pytest.raises(SemplesError, match=r"metrics\.jsonl, which semples did not write"):
        Checkpoint(tmp_path, "fingerprint", {}, writes=True)
    assert (tmp_path / "metrics.jsonl").read_text() == "precious"


def test_own_checkpoints_are_replaced_again_and_again(tmp_path):
    for epoch in range(3):
        parts = {"learner": torch.nn.Linear(2, 1)}
        checkpoint = Checkpoint(tmp_path / "checkpoints", "fingerprint", parts, writes=True)
        assert checkpoint.resume().epoch == epoch
        checkpoint.add_line("{}")
        checkpoint.save(Position(epoch=epoch + 1))


@pytest.mark.usefixtures("in_tmp")
@pytest.mark.parametrize("row", WRITING, ids=lambda row: row.name)
def test_a_command_removes_what_its_killed_jobs_left(row, tmp_path, source):
    paths = [path for path, _ in outputs(row, tmp_path / "out.png")]
    for path in paths:
        (path.parent / f".{path.name}.partial-12" / "deep").mkdir(parents=True)
    arguments(row, _parser().parse_args(words(row, tmp_path / "out.png", source)))
    assert not list(tmp_path.rglob("*partial*"))


def test_leftovers_are_those_of_killed_jobs_alone(tmp_path):
    mine = [".out.partial-notes", ".out.partial-12.txt", ".other.partial-12", "out.partial-12"]
    for name in [".out.partial-12", ".out.partial-7-old/deep", *mine]:
        (tmp_path / name).mkdir(parents=True)
    remove_leftovers(tmp_path / "out")
    assert names(tmp_path) == sorted(mine)
