"""The speeds of a machine: measured ones where there are any, else assumed ones; and files that are damaged."""

import logging

import pytest

from semples.config.load import load
from semples.planning import speed
from semples.planning.cost import Size, job_cost, known_network, rate_key
from semples.planning.speed import Speed, assumed_speed, keep_speed, speed_here

SIZE = Size(1200, 300, 4096.0, 1.3, 6)
MEASURED = {"from": "measured", "start_seconds": 0.0, "product_gflop_per_second": 94.0}  # half of the assumed product
MINI = load({"preset": "mini"})


def seconds(stage: str, measured: Speed, config=MINI) -> float:
    return 3600 * job_cost(stage, config, SIZE, measured, known_network).hours


def test_a_measured_rate_gives_the_hours_and_is_named():
    rates = {rate_key("classify", MINI): 10.0}
    measured = assumed_speed("cpu")._replace(measured=MEASURED | {"rates": rates})
    gflop = 3 * MINI.classify.epochs * 1200 * known_network("generator", MINI).gflop
    assert seconds("classify", measured) == pytest.approx(gflop / 10, rel=0.01)  # and decoding
    assert job_cost("classify", MINI, SIZE, measured, known_network).measured
    assert not job_cost("classify", MINI, SIZE, assumed_speed("cpu"), known_network).measured


@pytest.mark.parametrize(
    "other", [{"precision": "32-true"}, {"run": {"threads": 4}}, {"generator": {"name": "vit_cam", "image_size": 224}}]
)
def test_a_rate_holds_for_its_arithmetic_threads_and_networks_alone(other):
    measured = assumed_speed("cpu")._replace(measured=MEASURED | {"rates": {rate_key("slm", MINI): 10.0}})
    assert not job_cost("slm", load({"preset": "mini", **other}), SIZE, measured, known_network).measured


def test_assumed_rates_follow_the_matrix_product():
    measured = assumed_speed("cpu")._replace(measured=MEASURED | {"rates": {}})
    unmeasured = assumed_speed("cpu")._replace(measured={"start_seconds": 0.0})
    assert seconds("slm", measured) == pytest.approx(2 * seconds("slm", unmeasured), rel=0.01)


def test_joint_costs_what_csr_costs():
    assert rate_key("joint", MINI) == rate_key("csr", MINI) != rate_key("slm", MINI)


def test_speeds_are_kept_and_rates_of_other_networks_stay(cached_speeds):
    assert not speed_here("cpu").measured
    keep_speed("cpu", MEASURED | {"rates": {"a": 1.0, "b": 2.0}})
    keep_speed("cpu", MEASURED | {"from": "again", "rates": {"b": 3.0}})
    assert speed_here("cpu").measured == MEASURED | {"from": "again", "rates": {"a": 1.0, "b": 3.0}}
    assert "again; assumed ones are 0.50 times" in speed_here("cpu").source()
    assert not speed_here("cuda").measured


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"from": "x"}', "NaN"])
def test_a_damaged_file_is_a_warning(cached_speeds, caplog, text):
    cached_speeds.mkdir()
    (cached_speeds / "speed-cpu").write_text(text)
    with caplog.at_level(logging.WARNING):
        assert speed_here("cpu") == assumed_speed("cpu")
    assert "semples plan --calibrate" in caplog.text


def test_without_a_home_folder_nothing_is_measured(monkeypatch, caplog):
    def no_home(*_: str) -> None:
        raise RuntimeError("no home")

    monkeypatch.setattr(speed, "cache_file", no_home)
    assert not speed_here("cpu").measured
    assert "no home" in caplog.text
