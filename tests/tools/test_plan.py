"""`semples plan`: the jobs of every rule as Snakemake counts them, and errors that name what can be asked for."""

import re

import pytest

from semples.cli import main
from semples.planning import calibrate
from semples.planning.cost import rate_key


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    """A function that runs `semples plan` in an empty folder and returns its exit code and jobs by rule."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("preset: mini\n")

    def run(*arguments: str) -> tuple[int, dict[str, int], str]:
        code = main(["plan", *arguments])
        found = capsys.readouterr()
        jobs = re.findall(r"^\| (\w+) +\| (\d+) +\|", found.out, flags=re.MULTILINE)
        return code, {rule: int(count) for rule, count in jobs}, found.out + found.err

    return run


def test_shared_stages_count_once_a_seed(plan):
    _, jobs, text = plan("tables", "--set", "seeds=[0,1,2]")
    assert jobs["classify"] == 3
    assert (jobs["slm"], jobs["joint"], jobs["segment"]) == (6, 3, 9)
    assert jobs["evaluate_masks"] == jobs["crf"] + jobs["segment"]
    assert re.search(r"About \d+\.\d minutes of jobs on cpu", text)


def test_downloads_of_weights_take_hours_and_disk(plan):
    text = plan("results", "--set", "preset=voc12")[2]
    assert re.search(r"\| weights +\| \d \| +0\.0[1-9] +\| assumed +\| +0\.0 +\| +0\.[2-9]\d", re.sub(" +", " ", text))


def test_the_longest_chain_of_jobs_bounds_the_duration(plan):
    """From one classifier follow four variants: more cores than four jobs at a time shorten nothing."""
    minutes = [
        float(re.search(r"of jobs on cpu, (\d+\.\d) minutes with", plan("--at-once", count)[2])[1])
        for count in ("1", "2", "50", "100")
    ]
    assert minutes[0] > 1.5 * minutes[1] > 1.5 * minutes[2] > minutes[0] / 3
    assert minutes[2] == minutes[3]


def test_an_apple_gpu_counts_as_the_cpu(plan):
    assert re.search(r"of jobs on mps, \d", plan("--set", "run={device: mps}")[2])


def test_calibration_names_what_was_measured_and_is_kept(plan, monkeypatch):
    asked = []

    def measure(_settings, jobs, *_):
        asked.extend(stage for stage, _ in jobs)
        rates = {rate_key(stage, settings): 1.0 for stage, settings in jobs if stage != "csr"}
        return {"from": "measured by hand", "start_seconds": 1.0, "product_gflop_per_second": 47.0, "rates": rates}

    monkeypatch.setattr(calibrate, "measure", measure)
    first, second = plan("--calibrate")[2], plan()[2]
    assert first == second
    assert asked[:7] == ["classify", "slm", "cpl", "csr", "segment", "cams", "segment_masks"]
    speeds = dict(re.findall(r"^\| (\w+) +\| \d+ +\| +[\d.]+ +\| (\w+)", second, flags=re.MULTILINE))
    assert speeds.pop("csr") == "assumed"
    assert set(speeds.values()) == {"measured"}
    assert "measured by hand; assumed ones are 0.25 times" in second


def test_one_more_seed_adds_its_own_jobs_alone(plan):
    one, two = plan("tables", "--set", "seeds=[0]")[1], plan("tables", "--set", "seeds=[0,1]")[1]
    added = {rule: two[rule] - one[rule] for rule in one}
    assert added["classify"] == added["joint"] == 1
    assert added["csr"] == 5  # tables of the first seed only add none
    assert added["data"] == added["guide"] == 0


def test_a_table_asks_for_what_it_shows(plan):
    assert not {"crf", "segment", "evaluate_masks"} & set(plan("table_6")[1])
    assert "segment" not in plan("table_1")[1]
    assert plan()[1]["segment"] == 4  # `results`, what snakemake alone makes


def test_refined_maps_are_a_job_and_an_evaluation_each(plan):
    plain, jobs = plan()[1], plan("--set", "refine={kind: sam}")[1]
    assert "refine" not in plain
    assert (jobs["refine"], jobs["evaluate_refine"]) == (4, 4)
    assert jobs["weights"] == 1
    added = {rule: jobs[rule] - plain.get(rule, 0) for rule in jobs}
    assert {rule for rule, count in added.items() if count} == {"refine", "evaluate_refine", "weights"}


def test_figures_need_one_segmentation_and_the_sweeps(plan):
    jobs = plan("figures", "--set", "seeds=[0,1]")[1]
    assert (jobs["segment"], jobs["crf"]) == (1, 1)
    assert jobs["csr"] == 2 * 2 + plan("table_6")[1]["csr"]
    assert plan("tables", "figures")[1] == plan("tables")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table_99"], "'table_99'"),
        (["--set", "seeds"], "KEY=VALUE"),
        (["--set", "seeds=[0"], "--set seeds"),
        (["--set", "preset=photos"], "snakemake data"),
    ],
)
def test_bad_input_is_one_clear_error(plan, arguments, words):
    code, _, text = plan(*arguments)
    assert code == 1
    assert words in text
