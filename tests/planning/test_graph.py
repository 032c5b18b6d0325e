"""Variants share what they have in common, and only that."""

from collections import defaultdict
from itertools import product

from semples.config.load import load, variant
from semples.planning.graph import (
    LEARNING,
    SECTIONS,
    StageGraph,
    fingerprint,
    guide_run,
    stage_settings,
    stages_of,
    upstream,
)

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
    after_cams = {"cams", "refine", "evaluate", "evaluate_refine", "crf", "segment", "segment_masks"}
    assert moved == {"cpl", "csr", "joint", *after_cams}


def test_refinement_moves_what_is_made_of_refined_maps():
    plain, refined = load({"preset": "mini"}), load({"preset": "mini", "refine": {"kind": "pamr"}})
    other = load({"preset": "mini", "refine": {"kind": "pamr", "pamr": {"iterations": 3}}})
    stages = ("classify", "csr", "cams", "evaluate", "refine", "crf", "segment")
    for before, after in ((plain, refined), (refined, other)):
        moved = {stage for stage in stages if fingerprint(before, stage) != fingerprint(after, stage)}
        assert moved == {"refine", "crf", "segment"}
    assert "refine" in stages_of(refined) - stages_of(plain)
    unused = load({"preset": "mini", "refine": {"kind": "pamr", "superpixels": {"sizes": [9]}}})
    assert fingerprint(unused, "crf") == fingerprint(refined, "crf")  # of another kind


def test_how_a_job_runs_moves_nothing():
    before, after = load({"preset": "mini"}), load({"preset": "mini", "run": {"threads": 1, "device": "auto"}})
    assert fingerprint(before, "segment") == fingerprint(after, "segment")


def test_stages_of_a_variant():
    settings = plan().settings
    assert "slm" not in stages_of(settings["classifier"])
    assert stages_of(settings["csr"]) >= set(LEARNING) - {"joint"}


def test_without_a_segmentation_network_a_variant_ends_with_its_masks():
    assert stages_of(load({"preset": "mini", "segment": {"network": "none"}})) & {"crf", "segment"} == {"crf"}


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


def guided(**more) -> StageGraph:
    experiments = {"guide": {"masks_from": "guide"}, "guided": {"cpl": {"start": "guide"}}}
    experiments["fused"] = {"masks_from": "classify", "cams": {"fuse": "mean", "fuse_weight": 0.7}}
    dropped = dict.fromkeys(["classifier", "slm", "csr-manual", "csr-learned"])
    return StageGraph(load({"preset": "mini", "seeds": [3, 4], "experiments": experiments | dropped} | more))


def test_prompts_from_the_guides_maps_need_no_generator():
    settings = guided().settings["guided"]
    assert set(upstream("cpl", settings)) == {"guide", "cams"}
    assert not {"classify", "slm"} & stages_of(settings, "cpl")


def test_the_guides_maps_are_made_once_for_all_that_read_them():
    graph = guided()
    maps = ["results/mini/cams/guide/seed3/cams.h5"]
    assert [graph.input_of(stage, "maps", name, 4) for stage, name in (("cpl", "guided"), ("cams", "fused"))] == [
        maps
    ] * 2
    assert graph.input_of("cams", "maps", "guide", 4) == graph.input_of("cams", "maps", "guided", 4) == []
    jobs = defaultdict(set)
    for name, seed in product(("guided", "fused"), (3, 4)):
        graph.collect("cams", graph.settings[name], seed, True, jobs)
    assert jobs["cams"] == {("guide", 3), ("guided", 3), ("guided", 4), ("fused", 3), ("fused", 4)}


def test_without_a_row_of_its_own_the_guides_maps_have_a_name():
    graph = guided(guide_maps={"flip": False}, tables={"training_free": None}, variants={"guide-gradcam": None})
    graph = StageGraph(
        graph.config.model_copy(update={"experiments": {"twice": {"rounds": 2, "cpl": {"start": "guide"}}}})
    )
    assert graph.input_of("cpl", "maps", "twice", 4) == []
    assert graph.input_of("cpl", "maps", "twice.round1", 4) == ["results/mini/cams/twice.round1.guide/seed3/cams.h5"]
    assert graph.runs["twice.round1.guide"].masks_from == "guide"


def test_a_weight_moves_the_fused_maps_only():
    light, heavy = (
        variant(load({"preset": "mini", "cams": {"fuse": "mean", "fuse_weight": w}}), "slm") for w in (0.1, 0.9)
    )
    assert fingerprint(light, "cams") != fingerprint(heavy, "cams")
    assert fingerprint(guide_run(light), "cams") == fingerprint(guide_run(heavy), "cams")


def test_the_guides_own_rows_are_not_fused_and_shared_by_those_that_are():
    graph = guided(cams={"fuse": "mean"})
    assert graph.input_of("cams", "maps", "guide", 3) == []
    assert graph.input_of("cams", "maps", "guided", 3) == ["results/mini/cams/guide/seed3/cams.h5"]
    assert stage_settings(graph.settings["guide"], "cams")["cams"]["fuse"] == "none"


def test_maps_of_another_method_may_differ_by_seed():
    path = "maps/{seed}/cams.h5"
    graph = guided(foreign={"path": path}, experiments={"foreign": {"masks_from": "foreign"}})
    assert graph.input_of("cams", "foreign", "foreign", 4) == ["maps/4/cams.h5"]
