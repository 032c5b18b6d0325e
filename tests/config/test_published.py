"""The presets beside the published settings: no difference without a reason."""

import pytest
import yaml

from semples.cli import main
from semples.config import load, published
from semples.errors import SemplesError


@pytest.mark.parametrize("preset", ["voc12", "voc12_8gb", "voc12_fast", "coco14"])
@pytest.mark.parametrize("parity", ["none", "published"])
def test_every_difference_of_a_preset_has_a_reason(preset, parity):
    rows = published.compare(load.load({"preset": preset, "parity": parity}))
    assert len(rows) > 50
    assert not [row for row in rows if row[3] == published.UNEXPLAINED]


def test_parity_leaves_precision_and_the_network():
    rows = published.compare(load.load({"preset": "voc12", "parity": "published"}))
    assert {row[0] for row in rows if row[3]} == {"precision", "segment.encoder"}


def test_a_users_own_difference_is_unexplained():
    rows = published.compare(load.load({"preset": "voc12", "slm": {"w_bg": 1.0}}))
    assert ("slm.w_bg", "2.4", "1.0", published.UNEXPLAINED) in rows


def test_the_miniature_has_no_published_settings():
    with pytest.raises(SemplesError, match="voc12 or coco14"):
        published.compare(load.load({"preset": "mini"}))


def test_a_users_setting_wins_over_parity():
    settings = load.load({"preset": "voc12", "parity": "published", "cpl": {"final_period": "end_of_word"}})
    assert settings.cpl.final_period == "end_of_word"


@pytest.mark.parametrize("missing", ["source", "split"])
@pytest.mark.parametrize("leave", [lambda number, key: number.pop(key), lambda number, key: number.update({key: ""})])
def test_a_published_number_without_source_or_split_is_refused(tmp_path, missing, leave):
    values = yaml.safe_load(published.RESULTS.read_text(encoding="utf-8"))
    path = tmp_path / "results.yaml"
    path.write_text(yaml.safe_dump(values))
    assert published.results("voc", path) == published.results("voc")
    leave(values["coco14"][-1]["numbers"][0], missing)
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SemplesError, match=rf"wrong.yaml(.|\n)*numbers.0.{missing}"):
        published.results("coco", tmp_path / "wrong.yaml")


@pytest.mark.parametrize("source", ["voc", "coco"])
def test_published_numbers_are_of_known_splits_and_each_stands_once(source):
    methods = published.results(source)
    assert len({method.method for method in methods}) == len(methods) > 20
    splits = {"cams": {"train"}, "crf": {"train", "train_aug"}, "segment": {"val", "test", "val2017"}}
    for method in methods:
        assert method.numbers or method.note
        assert len({(number.of, number.split) for number in method.numbers}) == len(method.numbers)
        assert all(number.split in splits[number.of] and 30 < number.miou < 90 for number in method.numbers)


def test_the_miniature_has_no_published_numbers():
    assert published.results("mini") == []


def test_the_command_prints_a_table(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("preset: voc12\n")
    assert main(["config", "show", "--against", "published", "--config", str(tmp_path / "config.yaml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(" | ")[0].strip() == "| setting"
    assert len({len(line) for line in lines}) == 1


def test_config_show_is_config(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("preset: mini\n")
    printed = []
    for words in (["config"], ["config", "show"]):
        assert main([*words, "--config", str(tmp_path / "config.yaml")]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "masks_from: csr" in printed[0]
