"""Variants share what they have in common, and only that."""

from semples.config.load import load
from semples.planning.graph import LEARNING, SECTIONS, StageGraph, fingerprint, stage_settings, stages_of, upstream

EXPERIMENTS = {
    "classifier": {"masks_from": "classify"},
    "slm": {"masks_from": "slm"},
    "csr": {},
    "strong": {"csr": {"w_prompt": 9.0}},
    "wide": {"slm": {"w_bg": 9.0}},
}


def plan() -> StageGraph:
    return StageGraph(load({"preset": "mini", "experiments": EXPERIMENTS | {"csr-manual": None, "csr-learned": None}}))


def test_equal_stages_have_one_owner():
    output_of = plan().output_of
    assert {output_of("classify", name) for name in EXPERIMENTS} == {"classifier"}
    assert output_of("slm", "csr") == output_of("slm", "strong") == "slm"
    assert output_of("slm", "wide") == "wide"
    assert output_of("cpl", "strong") == output_of("cpl", "csr")
    assert output_of("cpl", "wide") == "wide"
    assert output_of("csr", "strong") == "strong"


def test_a_setting_moves_only_what_depends_on_it():
    before, after = load({"preset": "mini"}), load({"preset": "mini", "cpl": {"length": 4}})
    moved = {
        stage
        for stage in SECTIONS
        if stage not in ("figures", "heatmap") and fingerprint(before, stage) != fingerprint(after, stage)
    }
    assert moved == {"cpl", "csr", "joint", "cams", "evaluate", "crf", "segment", "segment_masks"}


def test_how_a_job_runs_moves_nothing():
    before, after = load({"preset": "mini"}), load({"preset": "mini", "run": {"threads": 1, "device": "auto"}})
    assert fingerprint(before, "segment") == fingerprint(after, "segment")


def test_stages_of_a_variant():
    settings = plan().settings
    assert "slm" not in stages_of(settings["classifier"])
    assert stages_of(settings["csr"]) >= set(LEARNING) - {"joint"}


def test_csr_starts_from_classify_unless_told():
    assert "classify" in upstream("csr", load({"preset": "mini"}))
    assert "slm" in upstream("csr", load({"preset": "mini", "csr": {"start": "slm"}}))


def test_a_stage_sees_its_own_settings_only():
    assert set(stage_settings(load({"preset": "mini"}), "slm")) == set(SECTIONS["slm"])


def test_folder_carries_stage_variant_and_seed():
    assert plan().path("slm", "model", "strong", 3) == "results/mini/slm/slm/seed3/model.safetensors"


def schemes() -> StageGraph:
    experiments = {
        "csr": {},
        "from-slm": {"csr": {"start": "slm"}},
        "joint": {"masks_from": "joint"},
        "twice": {"rounds": 2},
        "thrice": {"rounds": 3},
        "other-maps": {"cpl": {"start": "cams.h5"}},
    }
    dropped = dict.fromkeys(["classifier", "slm", "csr-manual", "csr-learned"])
    return StageGraph(load({"preset": "mini", "experiments": experiments | dropped}))


def test_schemes_share_what_they_can():
    output_of = schemes().output_of
    assert {output_of("classify", name) for name in ("csr", "joint", "twice", "other-maps")} == {"csr"}
    assert output_of("cpl", "from-slm") == output_of("cpl", "csr")
    assert output_of("csr", "from-slm") == "from-slm"
    assert output_of("joint", "joint") == "joint"


def test_a_later_round_learns_from_the_csr_before():
    graph = schemes()
    assert graph.input_of("cpl", "generator", "csr", 0) == ["results/mini/slm/csr/seed0/model.safetensors"]
    assert graph.input_of("cpl", "generator", "twice", 0) == ["results/mini/csr/csr/seed0/model.safetensors"]
    assert graph.output_of("cpl", "twice") == "twice"
    assert graph.input_of("cpl", "generator", "thrice", 0) == ["results/mini/csr/twice/seed0/model.safetensors"]
    assert graph.input_of("csr", "generator", "thrice", 0) == ["results/mini/classify/csr/seed0/model.safetensors"]


def test_rounds_alone_make_their_earlier_rounds():
    graph = StageGraph(load({"preset": "mini", "rounds": 2, "experiments": {"csr-manual": None}}))
    before = graph.input_of("cpl", "generator", "csr-learned", 1)
    assert before == ["results/mini/csr/csr-learned.round1/seed1/model.safetensors"]
    assert "csr-learned.round1" not in graph.settings


def test_a_scheme_runs_its_own_stages_only():
    settings = schemes().settings
    assert not {"slm", "cpl", "csr"} & stages_of(settings["joint"])
    assert "slm" not in stages_of(settings["other-maps"])
