"""The lease of GPUs, with a stand-in for `nvidia-smi` that lists cards nobody has."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semples.errors import SemplesError
from semples.runtime.gpu_lease import lease_gpus, visible_gpus

JOB = """
import os, sys, time
from semples.runtime.gpu_lease import lease_gpus
lease_gpus("cuda", int(sys.argv[1]))
print(os.environ["CUDA_VISIBLE_DEVICES"], time.monotonic(), flush=True)
time.sleep(float(sys.argv[2]))
print(time.monotonic(), flush=True)
"""


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """A function that sets how many cards there are."""

    def make(count: int) -> list[str]:
        names = [f"GPU-{number:04d}" for number in range(count)]
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\nprintf '" + "\\n".join(names) + "\\n'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        return names

    return make


def job(count: int, seconds: float) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", JOB, str(count), str(seconds)], stdout=subprocess.PIPE, text=True)


def lines(process: subprocess.Popen) -> tuple[set[str], float, float]:
    """Cards, begin and end of a job."""
    first, last = process.communicate(timeout=60)[0].splitlines()
    return set(first.split()[0].split(",")), float(first.split()[1]), float(last)


@pytest.mark.parametrize("wanted", [1, 2])
def test_jobs_that_run_at_once_have_cards_of_their_own(cards, wanted):
    names = set(cards(3))
    found = [lines(process) for process in [job(wanted, 0.5) for _ in range(5)]]
    for place, (mine, begun, ended) in enumerate(found):
        assert len(mine) == wanted
        assert mine <= names
        for others, first, last in found[place + 1 :]:
            assert mine.isdisjoint(others) or first >= ended or begun >= last
    if wanted == 1:
        assert len(set.union(*(mine for mine, _, _ in found))) > 1


def test_a_killed_job_gives_its_card_back(cards):
    cards(2)
    both = [job(1, 60), job(1, 60)]
    taken = [process.stdout.readline().split()[0] for process in both]
    third = job(1, 0)
    time.sleep(1.5)
    assert third.poll() is None
    both[0].kill()
    assert lines(third)[0] == {taken[0]}
    both[1].kill()


def test_cards_that_a_scheduler_gave_are_left_as_they_are(cards, monkeypatch):
    names = cards(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert visible_gpus() == names[2:]
    lease_gpus("auto", 2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"


def test_nothing_is_leased_without_cards_on_the_cpu_or_in_a_child(cards, monkeypatch, tmp_path):
    lease_gpus("cpu", 1)
    cards(3)
    lease_gpus("cpu", 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    lease_gpus("cuda", 1)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert not list(Path(tmp_path).glob("semples-cards-*"))


def test_more_devices_than_cards_is_an_error(cards):
    cards(2)
    with pytest.raises(SemplesError, match="3, and 2 GPUs"):
        lease_gpus("cuda", 3)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EROFS])
def test_without_locks_a_job_goes_on_with_one_warning(cards, monkeypatch, caplog, code):
    names = cards(3)

    def flock(*_arguments) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    lease_gpus("cuda", 2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(names[:2])
    assert [record.message.count(os.strerror(code)) for record in caplog.records] == [1]


def test_a_user_without_a_name_gets_a_card(cards, monkeypatch):
    names = cards(2)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _user: {}["nobody"])
    lease_gpus("cuda", 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] in names
