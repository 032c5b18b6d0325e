"""Settings: two layers, ranges, and errors that name the nearest known key."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from semples.config import load
from semples.config.settings import Config, Settings
from semples.config.variants import merge
from semples.errors import SemplesError

ROOT = Path(__file__).parents[2]
PRESETS = load.names(load.PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid(preset):
    loaded = load.load({"preset": preset})
    assert loaded.name == preset
    assert all(load.variant(loaded, name) for name in loaded.experiments)


def differing(one: dict, two: dict, prefix: str = "") -> set[str]:
    """The keys with different values in two nested dictionaries of the same keys."""
    keys = {key for key in one if one[key] != two[key]}
    nested = [differing(one[key], two[key], f"{prefix}{key}.") for key in keys if isinstance(one[key], dict)]
    return {f"{prefix}{key}" for key in keys if not isinstance(one[key], dict)}.union(*nested)


@pytest.mark.parametrize(
    ("preset", "keys"),
    [
        ("voc12_8gb", "run.checkpointing precision cams.batch classify slm cpl csr"),
        ("voc12_fast", "classify.epochs slm.epochs cpl.epochs csr.epochs segment.epochs"),
    ],
)
def test_a_preset_differs_from_the_one_it_names_in_its_own_keys_alone(preset, keys):
    base, changed = (load.load({"preset": name}).model_dump() for name in ("voc12", preset))
    stages = {key if "." in key or key == "precision" else f"{key}.accumulate" for key in keys.split()}
    assert differing(base, changed) == {"name", "preset", *stages}


def test_a_preset_of_ones_own_may_name_one_of_the_package(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("preset: voc12_fast\nslm: {epochs: 3}\n")
    config = load.load({"preset": str(path), "csr": {"epochs": 4}})
    assert (config.classify.epochs, config.slm.epochs, config.csr.epochs, config.cpl.batch) == (20, 3, 4, 128)
    assert "table_3" in config.tables
    path.write_text("preset: mine\n")
    with pytest.raises(SemplesError, match=r"mine.yaml(.|\n)*`preset: mine` in a preset(.|\n)*one of \['coco14'"):
        load.load({"preset": str(path)})


def test_configurations_of_the_docs_are_valid():
    configs = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "docs" / "configs").glob("*.yaml")}
    configs["voc12_head"] = merge(configs["voc12_cpu"], configs["voc12_head"])
    assert {load.load(differences).name for differences in configs.values()} == set(configs)


def test_user_layer_wins_and_leaves_the_rest():
    plain, changed = load.load({"preset": "mini"}), load.load({"preset": "mini", "slm": {"w_bg": 7.0}})
    assert changed.slm.w_bg == 7.0
    assert changed.slm.epochs == plain.slm.epochs


def test_unknown_key_names_the_nearest():
    with pytest.raises(SemplesError, match=r"unknown key `slm.w_bgg`(.|\n)*perhaps `w_bg`"):
        load.load({"preset": "mini", "slm": {"w_bgg": 1}})


def test_a_renamed_key_names_the_new_one():
    with pytest.raises(SemplesError, match=r"unknown key `cpl.dot`(.|\n)*perhaps `final_period`"):
        load.load({"preset": "mini", "cpl": {"dot": "bare"}})


def test_unknown_key_of_an_experiment_names_the_experiment():
    with pytest.raises(SemplesError, match=r"experiments: mine(.|\n)*perhaps `epochs`"):
        load.load({"preset": "mini", "experiments": {"mine": {"csr": {"epoch": 1}}}})


def test_value_out_of_range():
    with pytest.raises(SemplesError, match=r"slm\.epochs: 0(.|\n)*greater than or equal to 1"):
        load.load({"preset": "mini", "slm": {"epochs": 0}})


def test_unknown_key_of_a_table_names_the_nearest():
    with pytest.raises(SemplesError, match=r"unknown key `tables.mine.rowz`(.|\n)*perhaps `rows`"):
        load.load({"preset": "mini", "tables": {"mine": {"title": "Mine", "rowz": {}}}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("precision", "8-bit"),
        ("rounds", 0),
        ("run.threads", -5),
        ("run.theads", 5),
        ("slm.augment.flip", 1.5),
        ("crf.threshold.value", 2),
        ("segment.test_scales", [1.0, -1.0]),
        ("segment", {"labels": "truth", "confidence": True}),
        ("run", {"threads": -5}),
        ("segment.confidence", True),
    ],
)
def test_values_are_checked_on_assignment(path, value):
    settings = load.load({"preset": "mini", "segment": {"labels": "truth"}})
    *sections, key = path.split(".")
    section = settings
    for name in sections:
        section = getattr(section, name)
    before = settings.model_dump()
    with pytest.raises(ValidationError):
        setattr(section, key, value)
    assert settings.model_dump() == before


def test_assigned_values_do_not_reach_the_defaults():
    settings = Settings()
    settings.run.threads, settings.crf.threshold.value = 7, 0.25
    assert (settings.run.threads, settings.crf.threshold.value) == (7, 0.25)
    assert (Settings().run.threads, Settings().crf.threshold.value) == (2, 0.45)


def test_an_unknown_experiment_lists_the_known():
    with pytest.raises(SemplesError, match=r"'nope'(.|\n)*'classifier', 'slm'"):
        load.variant(load.load({"preset": "mini"}), "nope")


def test_json_text_has_no_experiments():
    with pytest.raises(SemplesError, match=r"'slm'(.|\n)*YAML file"):
        load.variant(load.read('{"csr": {"w_prompt": 4.0}}'), "slm")


@pytest.mark.parametrize("text", ['{"csr": ', "{'csr': {}}", "{}}"])
def test_broken_json_text_is_an_error_that_says_so(text):
    with pytest.raises(SemplesError, match=r"--config(.|\n)*broken JSON"):
        load.read(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [(b"slm: [1", "broken YAML"), (b"caf\xe9: 1", "broken YAML"), (b"- mini", "a list"), (b"mini", "a str")],
)
def test_a_file_that_is_no_settings_is_an_error_that_names_it(tmp_path, text, problem):
    (tmp_path / "mine.yaml").write_bytes(text)
    with pytest.raises(SemplesError, match=rf"mine.yaml(.|\n)*{problem}"):
        load.read(str(tmp_path / "mine.yaml"))
    with pytest.raises(SemplesError, match=rf"mine.yaml(.|\n)*{problem}"):
        load.load({"preset": str(tmp_path / "mine.yaml")})


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SemplesError, match=r"none.yaml(.|\n)*no such file"):
        load.read(str(tmp_path / "none.yaml"))


def test_unknown_preset_lists_the_known():
    with pytest.raises(SemplesError, match="mini"):
        load.load({"preset": "minni"})


def test_every_field_has_a_description():
    schema = Config.model_json_schema()
    groups = [schema, *schema["$defs"].values()]
    sections = set(Settings.model_fields) - {"precision", "masks_from"}
    bare = {
        name
        for group in groups
        for name, field in group["properties"].items()
        if "description" not in field and name not in sections | {"augment", "threshold", "superpixels", "pamr", "sam"}
    }
    assert not bare


def test_schema_file_is_in_step():
    written = json.loads((ROOT / "workflow" / "schemas" / "config.schema.json").read_text())
    assert written == Config.model_json_schema(), "run: make schema"


def test_command_reads_json_text_and_files(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"preset": "mini", "csr": {"w_prompt": 2.0}}))
    assert load.read(str(path)).csr.w_prompt == 2.0
    assert load.read('{"csr": {"w_prompt": 4.0}}').csr.w_prompt == 4.0


@pytest.mark.parametrize("recipe", load.names(load.RECIPES))
def test_a_recipe_says_all_that_makes_a_training(recipe):
    config = load.load({"preset": "voc12", "recipe": recipe, "segment": {"epochs": 3}})
    written = yaml.safe_load((load.RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8"))
    assert set(written) == {"segment"}
    assert config.segment.network == written["segment"]["network"]
    assert config.segment.epochs == 3
    assert {"optimizer", "lr", "head_lr_factor", "weight_decay", "batch", "crop", "scale"} <= set(written["segment"])
    assert f"| `{recipe}` |" in (ROOT / "docs/segmentation.md").read_text(encoding="utf-8")


def test_an_unknown_recipe_is_an_error_that_names_the_known():
    with pytest.raises(SemplesError, match=r"`recipe: deeplabv9`.*\n.*'deeplabv2', 'deeplabv3plus'"):
        load.load({"preset": "voc12", "recipe": "deeplabv9"})


def test_ground_truth_has_no_confidence():
    with pytest.raises(SemplesError, match="ground truth has no confidence"):
        load.load({"preset": "mini", "segment": {"labels": "truth", "confidence": True}})


@pytest.mark.parametrize(
    "changes",
    [
        {"experiments": {"other": {"data": {"seed": 1}}}},
        {"tables": {"table_4": {"title": "other pictures", "rows": {"slm": ""}, "settings": {"data": {"seed": 1}}}}},
    ],
)
def test_an_experiment_has_no_data_set_of_its_own(changes):
    with pytest.raises(SemplesError, match="one data set for all experiments"):
        load.load({"preset": "mini", **changes})
