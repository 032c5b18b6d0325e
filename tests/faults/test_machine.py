"""Faults of the machine: full disk, folders that nobody may write, no memory, Ctrl-C, a closed pipe, the umask."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import save_file

from semples import files
from semples.cli import adapters, main
from semples.errors import SemplesError
from semples.files import MARKS, atomic_path, remove_leftovers, write_text

DATA = '{"data": {"source": "mini", "scenes": {"train": 1, "val": 1}}, "run": {"threads": 1}}'
NOISE = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        for number in range(9):
            file.create_dataset(str(number), data=NOISE)


def draw(path: Path) -> None:
    figure = Figure()
    figure.subplots().imshow(NOISE)
    figure.savefig(path, format="png")


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("x" * 100_000),
    "table": lambda path: pd.DataFrame({"a": range(20_000)}).to_csv(path),
    "array": lambda path: NOISE.tofile(path),
    "checkpoint": lambda path: torch.save({"a": torch.zeros(100_000)}, path),
    "weights": lambda path: save_file({"a": torch.zeros(100_000)}, path),
    "maps": write_hdf5,
    "mask": lambda path: Image.fromarray(NOISE).save(path, format="PNG"),
    "figure": draw,
}


@contextmanager
def full_disk(free: int = 3000) -> Iterator[None]:
    """No file can be longer than `free` bytes: the write that passes it fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_one_clear_error_and_leaves_the_old_output(kind, tmp_path):
    out = tmp_path / "out.bin"
    write_text(out, "old")
    with full_disk(), pytest.raises(SemplesError) as caught, atomic_path(out) as partial:
        WRITERS[kind](partial)
    assert str(caught.value).startswith(f"{out}\n")
    assert "then start again" in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {MARKS, "out.bin"}
    assert out.read_text() == "old"
    write_text(out, "new")


def test_a_full_disk_in_the_middle_of_a_command(tmp_path, capsys):
    with full_disk(200):
        assert main(["data", "--config", DATA, "--out", str(tmp_path / "data")]) == 1
    text = capsys.readouterr().err
    assert f"error: {tmp_path}/data/" in text
    assert "found:    File too large" in text
    assert not list(tmp_path.iterdir())


def test_a_line_that_was_cut_off_hides_no_later_output(tmp_path):
    write_text(tmp_path / "one", "1")
    with open(tmp_path / MARKS, "a") as marks:
        marks.write("12 0123")
    write_text(tmp_path / "two", "2")
    write_text(tmp_path / "two", "3")
    assert (tmp_path / "two").read_text() == "3"


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EIO", "ESTALE", "EMFILE", "ENAMETOOLONG"])
def test_a_fault_names_the_output_that_it_hit(code, tmp_path):
    number = getattr(errno, code)
    with pytest.raises(SemplesError) as caught, atomic_path(tmp_path / "folder") as folder:  # noqa: PT012
        folder.mkdir()
        with atomic_path(folder / "file"):
            raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(f"{tmp_path}/folder/file\n  found:    {os.strerror(number)}\n")
    assert not list(tmp_path.iterdir())


def test_a_fault_of_an_input_names_the_input(tmp_path):
    with pytest.raises(SemplesError, match="no/such/photo"), atomic_path(tmp_path / "out"):
        open(tmp_path / "no/such/photo")  # noqa: SIM115


def test_a_bug_is_no_clear_error(tmp_path, monkeypatch):
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "out"):
        1 / 0  # noqa: B018
    monkeypatch.setattr(adapters, "arguments", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["config"])


def test_a_folder_that_nobody_may_write_is_found_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)
    assert main(["data", "--config", DATA, "--out", str(tmp_path / "new/data")]) == 1
    assert f"{tmp_path}\n  found:    a folder in which you may not write" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_no_memory_is_one_clear_error(error, capsys, monkeypatch):
    def arguments(*_values: object) -> None:
        raise error

    monkeypatch.setattr(adapters, "arguments", arguments)
    assert main(["config"]) == 1
    assert "found:    no memory is left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UnicodeEncodeError("utf-8", "gar\udce7on.png", 3, 4, "surrogates"), "gar\\udce7on.png"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "bytes that are not utf-8"),
        (RecursionError("maximum recursion depth exceeded"), "too many levels"),
    ],
)
def test_texts_that_cannot_be_read_are_one_clear_error(error, text, capsys, monkeypatch):
    def arguments(*_values: object) -> None:
        raise error

    monkeypatch.setattr(adapters, "arguments", arguments)
    assert main(["config"]) == 1
    assert text in capsys.readouterr().err


def test_ctrl_c_is_one_line(capsys, monkeypatch):
    def arguments(*_values: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adapters, "arguments", arguments)
    assert main(["config"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on from what is complete\n"


def test_a_closed_pipe_is_silent():
    command = f"{sys.executable} -m semples config --schema | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout == "{\n"
    assert done.stderr == ""


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_outputs_follow_the_umask(umask, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "UMASK", umask)
    with atomic_path(tmp_path / "model.safetensors") as partial:
        save_file({"a": torch.zeros(9)}, partial)
    with atomic_path(tmp_path / "guide") as folder:
        folder.mkdir()
        save_file({"a": torch.zeros(9)}, folder / "model.safetensors")
    for path in (tmp_path / "model.safetensors", tmp_path / "guide/model.safetensors"):
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_name_of_250_bytes_is_written(tmp_path):
    out = tmp_path / ("ü" * 125)
    write_text(out, "1")
    assert out.read_text() == "1"
    leftover = tmp_path / f"{files._prefix(out)}12"
    leftover.write_text("of a killed process")
    remove_leftovers(out)
    assert {path.name for path in tmp_path.iterdir()} == {MARKS, out.name}
