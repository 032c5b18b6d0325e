"""`semples plan --calibrate` runs every stage's own networks; what it notes follows from the time they take."""

from pathlib import Path

import pytest

from semples.config.load import load
from semples.planning import calibrate
from semples.planning.calibrate import Workbench, measure
from semples.planning.cost import Size, known_network, rate_key, work
from semples.planning.graph import LEARNING

STAGES = (*LEARNING, "cams", "segment_masks", "guide")
SIZE = Size(1200, 300, 4096.0, 1.3, 6)
MINI = load({"preset": "mini", "guide": {"words": ["sea"]}, "segment": {"decoder_channels": 16}})


@pytest.fixture
def clock(monkeypatch):
    """Every call takes half a second; batches are small, and no process is started."""
    calls = []

    def seconds(bench: Workbench, function) -> float:
        calls.append((bench.threads, function()))
        return 0.5

    monkeypatch.setattr(Workbench, "seconds", seconds)
    monkeypatch.setattr(calibrate, "STEP_SHARE", 1e-12)
    return calls


def test_every_stage_is_measured_with_its_own_networks(clock):
    measured = measure(MINI, [(stage, MINI) for stage in STAGES], SIZE, "cpu", known_network, 1e6)
    assert measured["product_gflop_per_second"] == pytest.approx(2 * 1024**3 / 0.5 / 1e9)
    assert measured["decode_pixels_per_second"] == 4096 / 0.5
    assert measured["crf_pixels_per_second"] == 3 * 10 * 4096 / 0.5
    assert set(measured["rates"]) == {rate_key(stage, MINI) for stage in STAGES}
    one = MINI.model_copy(update={"classify": MINI.classify.model_copy(update={"epochs": 1})})
    gflop = work("classify", one, Size(2, 2, 4096, 1.5, 6), known_network)[0]  # the smallest batch
    assert measured["rates"][rate_key("classify", MINI)] == pytest.approx(gflop / 0.5)
    maps = clock[[stage for stage in STAGES if stage != "joint"].index("cams") + 3][1][0]
    assert [scores.shape for _, scores, _ in maps] == [(1, 64, 64), (2, 64, 64)]


def test_threads_are_those_of_the_job(clock, monkeypatch):
    monkeypatch.setattr(calibrate, "stage_work", lambda *_: lambda: None)
    two = MINI.model_copy(update={"run": MINI.run.model_copy(update={"threads": 2})})
    measure(MINI, [("segment_masks", two), ("cams", two), ("segment_masks", MINI)], SIZE, "cpu", known_network, 1e6)
    assert [threads for threads, _ in clock] == [1, 1, 1, 2, 1, 1]


def test_rates_that_would_come_too_late_stay_assumed(clock, monkeypatch):
    assert measure(MINI, [("classify", MINI)], SIZE, "cpu", known_network, 0)["rates"] == {}


def test_photographs_are_jpegs(tmp_path):
    picture, _ = calibrate._draw(tmp_path, 182_000)
    assert picture.suffix == ".jpg"
    assert 0.4 < picture.stat().st_size / 182_000 < 0.7  # as in VOC: 0.46
    assert calibrate._draw(tmp_path, 4096)[0].suffix == ".png"


def test_one_thread_is_timed_without_other_processes(monkeypatch):
    """The processor's clock stands still while nothing is computed."""
    bench = Workbench("cpu", 1, Path(), Path())
    assert bench.seconds(lambda: calibrate.time.sleep(0.05)) < 0.04
    two = Workbench("cpu", 2, Path(), Path())
    assert two.seconds(lambda: calibrate.time.sleep(0.05)) >= 0.05
