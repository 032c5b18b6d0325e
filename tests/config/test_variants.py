"""What the paper's tables make of a configuration: their rows, the variants they add, and errors that name the row."""

from pathlib import Path

import pytest

from semples.config.load import load, variant
from semples.config.parse import read_yaml
from semples.config.variants import merge, rows_of, variants
from semples.errors import SemplesError
from semples.planning.graph import StageGraph

TABLE = {"title": "Sensitivity", "seeds": 1, "settings": {"csr": {"epochs": 2}}, "sweeps": {"csr.w_prompt": [0.5, 0.3]}}


def config(**more):
    return load({"preset": "mini", "seeds": [3, 4], "tables": {"table_6": None, "mine": TABLE | more}})


def test_a_sweep_is_a_variant_a_value_under_the_tables_own_settings():
    swept = config()
    rows = rows_of(swept, "mine")
    assert [(row.label, row.value) for row in rows] == [("csr.w_prompt = 0.5", 0.5), ("csr.w_prompt = 0.3", 0.3)]
    settings = variant(swept, rows[0].variant)
    assert (settings.csr.w_prompt, settings.csr.epochs, settings.slm.epochs) == (0.5, 2, 6)


def test_rows_under_own_settings_share_all_that_these_do_not_touch():
    loaded = config(rows={"csr-learned": "", "slm": ""})
    plan = StageGraph(loaded)
    learned, slm, _, swept = (row.variant for row in rows_of(loaded, "mine"))
    assert plan.output_of("csr", learned) == plan.output_of("csr", swept) != "csr-learned"  # w_prompt is 0.3 anyway
    assert plan.output_of("cpl", learned) == "csr-learned"
    assert plan.output_of("cams", slm) == "slm"


def test_a_dropped_variant_leaves_the_tables():
    loaded = load({"preset": "mini", "experiments": {"csr-manual": None}, "variants": {"joint": None}})
    assert "csr-manual" not in loaded.tables["table_7a"].rows
    assert "joint" not in loaded.tables["table_5"].rows


def test_a_row_that_nobody_named_is_an_error():
    with pytest.raises(SemplesError, match=r"(?s)tables.mine.rows.*'csr-lerned'.*'csr-learned'"):
        config(rows={"csr-lerned": ""})


def test_an_experiment_takes_the_place_of_a_variant_of_its_name():
    loaded = load({"preset": "mini", "experiments": {"joint": {"masks_from": "slm"}}})
    assert variant(loaded, "joint").masks_from == "slm"
    assert list(variants(loaded)).count("joint") == 1


@pytest.mark.parametrize("sweep", [{"csr.w_promt": [1]}, {"csr.w_prompt": ["much"]}])
def test_a_sweep_of_what_is_no_setting_or_value_is_an_error(sweep):
    with pytest.raises(SemplesError, match=r"w_prom"):
        config(sweeps=sweep)


@pytest.mark.parametrize("preset", ["mini", "voc12", "coco14"])
def test_every_variant_of_a_preset_is_in_a_table_or_an_experiment(preset):
    loaded = load({"preset": preset})
    shown = {row.variant for name in loaded.tables for row in rows_of(loaded, name)}
    unused = {
        name for name in loaded.variants if name not in shown and not any(n.startswith(f"{name}.") for n in shown)
    }
    assert not unused


def test_rows_with_a_frozen_backbone_stand_beside_others():
    folder = Path(__file__).parents[2] / "docs/configs"
    user = merge(*(read_yaml(folder / f"voc12_{name}.yaml") for name in ("cpu", "frozen")))
    plan = StageGraph(load(user | {"tables": {"frozen": user["tables"]["frozen"]}}))
    names = {row.variant: plan.settings[row.variant].generator.name for row in rows_of(plan.config, "frozen")}
    assert list(names.values()) == ["vit_cam"] * 3 + ["frozen_vit"] * 3
    frozen = [name for name in names if names[name] == "frozen_vit"]
    assert {plan.output_of("classify", name) for name in frozen} == {"frozen-classifier"}
    assert all(plan.settings[name].generator.backbone == "deit_tiny_patch16_224" for name in names)
    assert not any(getattr(plan.settings[frozen[2]], stage).augment.changes() for stage in ("classify", "slm", "csr"))


@pytest.mark.parametrize(
    ("files", "rows"),
    [
        (["mini_ways", "mini_frozen"], {"guide-gradcam", "foreign", "csr-pamr", "frozen-csr"}),
        (["voc12_cpu", "voc12_ways"], {"guide-gradcam", "foreign", "csr-slic", "csr-guide-start"}),
    ],
)
def test_every_way_to_maps_is_a_row_of_one_table(files, rows):
    folder = Path(__file__).parents[2] / "docs/configs"
    config = load(merge(*(read_yaml(folder / f"{name}.yaml") for name in files)))
    assert rows | {"classifier", "slm", "csr-learned"} <= {row.variant for row in rows_of(config, "training_free")}
