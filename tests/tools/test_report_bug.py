"""The report of a bug: what it holds, and that it tells neither the person nor the computer."""

import os
import pwd
import socket
from pathlib import Path

import pytest
import torch

from semples.cli import main
from semples.tools import report_bug

HOST = "venus.uni.example"
NAMES = ("marylou", "venus", "Mary Lou Smith", "smith")


@pytest.fixture
def person(tmp_path, monkeypatch) -> Path:
    """The home of the person marylou on the host venus, who works in a folder of it; no connection can be opened."""
    home = tmp_path / "people" / "marylou"
    (home / "work").mkdir(parents=True)
    monkeypatch.chdir(home / "work")
    for key in ("USER", "LOGNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(key, "marylou")
    monkeypatch.setenv("HOME", str(home))
    fields = list(pwd.getpwuid(os.getuid()))
    fields[0], fields[4], fields[5] = "marylou", "Mary Lou Smith,,,", str(home)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd(fields))
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("a connection was opened"))
    return home


def write(path: str, text: str, age: int = 0) -> None:
    """Write a file that is `age` seconds old."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")
    os.utime(path, (1e9 - age, 1e9 - age))


def report(capsys, *flags: str) -> str:
    assert main(["report-bug", *flags]) == 0
    return capsys.readouterr().out


def test_versions_settings_and_logs_without_a_name(person, capsys):
    write("config.yaml", "preset: mini\nname: first\nrun: {cache_folder: ~/a long folder of MaryLou's/cache}\n")
    lines = [
        f"reading {person}/photos/1.jpg and file://{person}",
        "reading /scratch/marylou/2.jpg, /scratch/marylou_2/x, backup-MARYLOU.tar and /home/somebody/3.jpg",
        f"on {HOST} and venus, host of Mary Lou Smith <m.smith@uni.example>",
        "from https://m.smith:secret@data.example/voc.tar",
    ]
    write("results/first/logs/slm/csr.seed0.log", "\n".join(lines))
    write(".snakemake/log/1.snakemake.log", "host: node17\nError in rule slm:\n")
    text = report(capsys)
    assert not [name for name in (*NAMES, str(person), "somebody", "secret", "node17") if name.lower() in text.lower()]
    for part in (f"torch {torch.__version__.partition('+')[0]}", "GPUs: ", "w_bg: 2.0", "Error in rule slm:"):
        assert part in text
    assert "cache_folder: ~/a long folder of <person>'s/cache" in text
    assert "reading ~/photos/1.jpg and file://~" in text
    assert "reading /scratch/<person>/2.jpg, /scratch/<person>_2/x, backup-<person>.tar and ~/3.jpg" in text
    assert "from https://data.example/voc.tar" in text


@pytest.mark.parametrize("length", [9, 12, 20])
def test_half_a_name_does_not_stay_where_a_log_is_cut(tmp_path, length):
    path, name = tmp_path / "x.log", "/home/somebody"
    replace = report_bug.anonymiser()
    path.write_text(f"{'-' * (report_bug.WIDTH - length - 1)} {name}/1.jpg", encoding="utf-8")
    assert "/home" not in (shown := report_bug._end(path, 9, replace))
    assert shown.endswith(" ~/1.jpg")
    path.write_text(f"{'-' * length}{name}{'-' * (report_bug.TAIL - len(name) - 6)}\nlast", encoding="utf-8")
    assert report_bug._end(path, 9, replace) == "last"


def test_the_newest_logs_end_with_their_last_lines(person, capsys):
    for age in range(7):
        write(f"results/a/logs/{age}.log", f"log {age}\n" + "".join(f"line {i}\n" for i in range(9)), age)
    write("results/a/logs/slm/bar.log", "slm: 1%\rslm: 50%\rslm: 99%\r", -1)
    write("results/b/logs/other.log", "of another run", -2)
    text = report(capsys, "--base", "results/a", "--lines", "2")
    titles = [line.split()[1] for line in text.splitlines() if line.startswith("### results")]
    assert titles == [f"results/a/logs/{name}.log" for name in ("slm/bar", 0, 1, 2, 3)]
    assert "~~~~\nline 7\nline 8\n~~~~" in text
    assert "~~~~\nslm: 99%\n~~~~" in text
    assert "of another run" in report(capsys)  # settings that cannot be read name no run


def test_settings_that_cannot_be_read_are_part_of_the_report(person, capsys):
    write("config.yaml", "preset: marylous\n")
    text = report(capsys)
    assert "found:    preset '<person>s'" in text
    assert "No log below results." in text


def test_a_short_name_is_replaced_where_it_stands_alone(monkeypatch):
    monkeypatch.setattr(report_bug, "_homes_and_users", lambda: ({"/u/ann"}, {"ann", "root"}))
    replace = report_bug.anonymiser()
    text = "annotations of /u/ann/photos, /data/ann/x, ann_2; data: {root: /u/anna}"
    assert replace(text) == "annotations of ~/photos, /data/<person>/x, <person>_2; data: {root: /u/anna}"


@pytest.mark.parametrize("home", ["/", ""])
def test_a_user_without_a_home_and_without_an_entry(monkeypatch, home):
    def missing(_):
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", missing)
    monkeypatch.setenv("HOME", home)
    assert report_bug.anonymiser()("disk / has /data/1.jpg") == "disk / has /data/1.jpg"
