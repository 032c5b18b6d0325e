"""The presets beside the published settings: no difference without a reason."""

import pytest

from semples.cli import main
from semples.config import load, published
from semples.errors import SemplesError


@pytest.mark.parametrize("preset", ["voc12", "coco14"])
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
