"""The workflow as users run it: dry runs, lint, one tiny run from end to end, and what a change reruns."""

import json
import re
from pathlib import Path

import pytest
import yaml

from semples.config.load import load
from semples.config.variants import RULES

ROOT = Path(__file__).resolve().parent.parent.parent
TINY = {
    "preset": "mini",
    "name": "tiny",
    "run": {"threads": 1},
    "data": {"scenes": {"train": 12, "val": 4}},
    "classify": {"epochs": 1},
    "slm": {"epochs": 1},
    "cpl": {"epochs": 1},
    "csr": {"epochs": 1},
    "segment": {"epochs": 1, "encoder": "tu-resnet10t", "decoder_channels": 16},
    "figures": {"images": 2},
    "experiments": {"csr-manual": None},
    "tables": dict.fromkeys([f"table_{name}" for name in ("2", "3", "5", "6", "7a", "7b", "8")])
    | {"swept": {"title": "A sweep", "sweeps": {"csr.w_prompt": [0, 0.3]}}},
}


@pytest.fixture(scope="module")
def run(snakemake):
    """A function that writes config.yaml into a folder and runs Snakemake there."""

    def call(folder: Path, *flags: object, config: dict = TINY, fails: bool = False) -> str:
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return snakemake(folder, "--cores", 2, *flags, fails=fails)

    return call


def jobs(text: str) -> dict[str, int]:
    """Job counts of a dry run, by rule."""
    found = re.findall(r"^(\w+)\s+(\d+)$", text, flags=re.MULTILINE)
    return {name: int(count) for name, count in found if name != "total"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, run) -> Path:
    """A folder with a finished tiny run."""
    folder = tmp_path_factory.mktemp("tiny run")  # a space in the path is no trouble
    run(folder)
    run(folder, "tables", "figures")
    return folder


@pytest.mark.parametrize("preset", sorted(path.stem for path in (ROOT / "semples/config/presets").glob("*.yaml")))
def test_dry_run_of_every_preset(tmp_path, preset, run):
    counts = jobs(run(tmp_path, "--dry-run", config={"preset": preset}))
    assert counts["classify"] == counts["slm"] == 1
    config = load({"preset": preset})
    variants = len(config.experiments)
    assert counts["csr"] == counts["cpl"] == (2 if variants > 1 else 1)
    assert counts["segment"] == variants
    assert counts.get("weights", 0) == (0 if preset == "mini" else 2)  # of the generator's backbone, of the encoder
    assert counts["cams"] == counts["crf"] == variants * config.run.shards


@pytest.mark.parametrize(
    ("settings", "alone"),
    [
        ({}, {"classify"}),
        ({"seeds": [0, 1]}, set()),
        ({"run": {"device": "auto"}}, set()),
        (
            {"experiments": dict.fromkeys(("classifier", "slm", "csr-manual"))},
            {"classify", "slm", "cpl", "csr", "cams", "crf", "segment", "segment_masks"},
        ),
    ],
    ids=["four variants", "two seeds", "gpu", "one variant"],
)
def test_a_job_alone_takes_all_cores(tmp_path, run, settings, alone):
    text = run(tmp_path, "--dry-run", "--cores", 4, config={"preset": "mini", **settings})
    blocks = {block.partition(":")[0]: block for block in re.split(r"^rule ", text, flags=re.MULTILINE)[1:]}
    assert {rule for rule, block in blocks.items() if "threads: 4" in block} == alone


def test_on_the_cpu_rules_are_urgent_that_others_wait_for(workflow_rules):
    order = ("classify", "slm", "cpl", "csr", "cams", "evaluate_cams", "refine", "crf", "segment", "segment_masks")
    priorities = [workflow_rules[rule].priority for rule in order]
    assert priorities == sorted(priorities, reverse=True)
    assert len(set(priorities)) == len(order)


def test_three_seeds_triple_the_jobs_of_a_seed_only(tmp_path, run):
    counts = jobs(run(tmp_path, "--dry-run", config={"preset": "mini", "seeds": [0, 1, 2]}))
    assert counts["data"] == counts["guide"] == counts["results"] == 1
    assert counts["classify"] == 3


def test_all_tables_and_figures_of_three_seeds_run_shared_stages_once(tmp_path, run):
    counts = jobs(run(tmp_path, "--dry-run", "tables", "figures", config={"preset": "mini", "seeds": [0, 1, 2]}))
    assert counts["classify"] == counts["joint"] == 3
    assert counts["data"] == counts["guide"] == counts["cost"] == counts["sensitivity"] == 1
    assert counts["paper"] == 9
    assert counts["csr"] <= 31  # what 45 minutes on two cores have room for
    assert counts["segment"] == 9  # three rows of tables 1 and 2
    assert counts["crf"] == counts["segment"] + 9  # three rows of maps without training


def test_one_table_asks_for_its_own_jobs(tmp_path, run):
    counts = jobs(run(tmp_path, "--dry-run", "table_3", config={"preset": "mini"}))
    assert counts["csr"] == counts["cpl"] == 2
    assert not {"crf", "segment", "joint"} & set(counts)


def test_schemes_share_jobs(tmp_path, run):
    experiments = {
        "csr-manual": None,
        "from-slm": {"csr": {"start": "slm"}},
        "joint": {"masks_from": "joint"},
        "three-rounds": {"rounds": 3},
    }
    counts = jobs(run(tmp_path, "--dry-run", config={"preset": "mini", "experiments": experiments}))
    assert counts["classify"] == counts["slm"] == counts["joint"] == 1
    assert counts["cpl"] == 3  # of the first round for all, of the second and the third
    assert counts["csr"] == 4
    assert counts["cams"] == 6


def test_a_changed_own_generator_and_other_maps_are_inputs(tmp_path, run):
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "maps.h5").write_text("")
    config = {"generator": {"name": "mine.py:Mine"}, "cpl": {"start": "maps.h5"}, "experiments": {"csr-manual": None}}
    text = run(tmp_path, "--dry-run", config={"preset": "mini", **config})
    inputs = dict(re.findall(r"^rule (\w+):\n    input: (.*)$", text, flags=re.MULTILINE))
    assert all("mine.py" in inputs[rule] for rule in ("classify", "slm", "cpl", "csr", "cams"))
    assert "maps.h5" in inputs["cpl"]
    assert "results/mini/slm/" not in inputs["cpl"]


def test_lint_is_clean(tmp_path, run):
    text = run(tmp_path, "--lint")
    assert "Congratulations" in text


def test_everything_is_there(finished):
    base = finished / "results/tiny"
    for path in (
        "tables/results.csv",
        "tables/results.html",
        "tables/results.md",
        "tables/words.md",
        "figures/panel.png",
        "figures/thresholds.png",
        "figures/training.png",
        "figures/comparison.png",
        "figures/confusion.png",
        "figures/framework.pdf",
        "figures/heatmap.png",
        "figures/prompts.pdf",
        "figures/sensitivity.pdf",
        "tables/swept.tex",
        "tables/table_1.csv",
        "tables/table_9.md",
        "cams/csr-learned/seed0/cams.h5",
        "crf/slm/seed0/masks/train_00000.png",
        "segment/classifier/seed0/predictions/val_00000.png",
    ):
        assert (base / path).stat().st_size > 0, path
    table = (base / "tables/results.md").read_text()
    assert [line.split()[1] for line in table.splitlines()[2:5]] == ["classifier", "slm", "csr-learned"]


def test_a_finished_workflow_has_nothing_to_do(finished, run):
    assert "Nothing to be done" in run(finished, "--dry-run", "all", "tables", "figures")


def test_another_runtime_reruns_nothing(finished, run):
    text = run(finished, "--dry-run", "all", "--set-resources", "slm:runtime=999", "crf:runtime=999")
    assert "Nothing to be done" in text


def test_a_sweep_shares_the_value_that_is_the_base(finished):
    lines = (finished / "results/tiny/tables/swept.md").read_text().splitlines()
    assert [line[2:].partition(" |")[0].strip() for line in lines[4:6]] == ["csr.w_prompt = 0", "csr.w_prompt = 0.3"]
    assert not (finished / "results/tiny/csr/csr.w_prompt-0.3").exists()


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"csr": {"epochs": 2}}, {"csr", "cams", "evaluate_cams", "crf", "evaluate_masks", "segment", "segment_masks"}),
        ({"crf": {"iterations": 3}}, {"evaluate_cams", "crf", "evaluate_masks", "segment", "segment_masks"}),
        ({"segment": {"epochs": 2}}, {"evaluate_masks", "segment", "segment_masks"}),
        ({"figures": {"images": 3}}, {"evaluate_masks", "segment_masks"}),
        ({"run": {"workers": 1, "threads": 2}}, set()),
        (
            {"seeds": [0, 1]},
            {"classify", "slm", "cpl", "csr", "cams", "crf"}
            | {"evaluate_cams", "evaluate_masks", "segment", "segment_masks"},
        ),
    ],
    ids=["csr", "crf", "segment", "figures", "run", "seeds"],
)
def test_a_changed_key_reruns_what_depends_on_it(finished, change, rules, run):
    config = json.loads(json.dumps(TINY))
    for key, value in change.items():
        config[key] = config.get(key, {}) | value if isinstance(value, dict) else value
    counts = jobs(run(finished, "--dry-run", config=config))
    results = {"all", "results", "words", "panel", "thresholds", "training"}
    assert set(counts) - results == rules
    if change.keys() == {"csr"}:
        assert counts["csr"] == counts["cams"] == counts["segment"] == 1


def test_report_is_one_page_with_everything_in_it(finished, run):
    run(finished, "--report", "report.html", "all", "tables", "figures")
    page = (finished / "report.html").read_text()
    assert all(
        name in page
        for name in ("panel.png", "thresholds.png", "training.png", "results.csv", "table_1.html", "heatmap.png")
    )
    assert "Images drawn at random" in page


def test_bad_config_is_one_clear_error(tmp_path, run):
    text = run(tmp_path, "--dry-run", config={"preset": "mini", "slm": {"w_bgg": 1}}, fails=True)
    assert "unknown key `slm.w_bgg`" in text
    assert "perhaps `w_bg`" in text
    assert "Traceback" not in text


def test_a_failed_job_leaves_no_output_and_shows_its_log(tmp_path, run):
    config = TINY | {"guide": {"model": "local-dir:/no/such/guide"}}
    text = run(tmp_path, "results/tiny/guide/slm/words.txt", config=config, fails=True)
    assert "guide 'local-dir:/no/such/guide'" in text
    assert not (tmp_path / "results/tiny/guide/slm").exists()


def test_names_of_tables_are_no_rules_of_the_workflow(workflow_rules):
    assert set(workflow_rules) - set(load({"preset": "mini"}).tables) <= RULES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"preset: mini\nslm: {lr: 1}\nslm: {lr: 2}\n", "line 3: the key 'slm' a second time"),
        (b"preset: mini\nname: caf\xe9\n", "line 2"),
        (b"preset: mini\nexperiments: {a/b: {}}\n", "experiments.a/b"),
        (b"preset: photos\ndata: {root: nowhere}\n", "nowhere"),
        (b"preset: mini\nsegment: {weights: none.pth}\n", "none.pth"),
        (b"data: {source: photos, root: .}\n", "preset: photos"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(tmp_path, snakemake, text, words):
    (tmp_path / "config.yaml").write_bytes(text)
    printed = snakemake(tmp_path, "--dry-run", "--cores", 1, fails=True)
    assert words in printed
    assert "Traceback" not in printed


def test_null_of_the_command_line_drops_an_experiment(tmp_path, snakemake):
    (tmp_path / "config.yaml").write_text("preset: mini\ntables: {a-b.c+d: {title: T, rows: {slm: ''}}}\n")
    printed = snakemake(tmp_path, "a-b.c+d", "--dry-run", "--cores", 1, "--config", "experiments={csr-manual: null}")
    assert "experiments classifier, slm, csr-learned, into results/mini" in printed
