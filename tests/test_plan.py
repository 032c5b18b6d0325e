"""Variants share what they have in common, and only that."""

from semples.config import load
from semples.plan import LEARNING, SECTIONS, Plan, fingerprint, stage_settings, stages_of, upstream

EXPERIMENTS = {
    "classifier": {"masks_from": "classify"},
    "slm": {"masks_from": "slm"},
    "csr": {},
    "strong": {"csr": {"w_prompt": 9.0}},
    "wide": {"slm": {"w_bg": 9.0}},
}


def plan() -> Plan:
    return Plan(load({"preset": "mini", "experiments": EXPERIMENTS | {"csr-manual": None, "csr-learned": None}}))


def test_equal_stages_have_one_owner():
    owner = plan().owner
    assert {owner("classify", name) for name in EXPERIMENTS} == {"classifier"}
    assert owner("slm", "csr") == owner("slm", "strong") == "slm"
    assert owner("slm", "wide") == "wide"
    assert owner("cpl", "strong") == owner("cpl", "csr")
    assert owner("cpl", "wide") == "wide"
    assert owner("csr", "strong") == "strong"


def test_a_setting_moves_only_what_depends_on_it():
    before, after = load({"preset": "mini"}), load({"preset": "mini", "cpl": {"length": 4}})
    moved = {
        stage for stage in SECTIONS if stage != "figures" and fingerprint(before, stage) != fingerprint(after, stage)
    }
    assert moved == {"cpl", "csr", "cams", "evaluate", "crf", "segment"}


def test_how_a_job_runs_moves_nothing():
    before, after = load({"preset": "mini"}), load({"preset": "mini", "run": {"threads": 1, "device": "auto"}})
    assert fingerprint(before, "segment") == fingerprint(after, "segment")


def test_stages_of_a_variant():
    settings = plan().settings
    assert "slm" not in stages_of(settings["classifier"])
    assert stages_of(settings["csr"]) >= set(LEARNING)


def test_csr_starts_from_classify_unless_told():
    assert "classify" in upstream("csr", load({"preset": "mini"}))
    assert "slm" in upstream("csr", load({"preset": "mini", "csr": {"start": "slm"}}))


def test_a_stage_sees_its_own_settings_only():
    assert set(stage_settings(load({"preset": "mini"}), "slm")) == set(SECTIONS["slm"])


def test_folder_carries_stage_owner_and_seed():
    assert plan().folder("slm", "strong", 3) == "results/mini/slm/slm/seed3"
