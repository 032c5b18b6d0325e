"""The workflow on somebody's own photographs: without masks nothing is judged, and everything else is made."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

TINY = {
    "preset": "mini",
    "name": "mine",
    "run": {"threads": 1},
    "classify": {"epochs": 1},
    "slm": {"epochs": 1},
    "cpl": {"epochs": 1, "length": 4},
    "csr": {"epochs": 1},
    "segment": {"epochs": 1, "encoder": "tu-resnet10t", "decoder_channels": 16},
    "figures": {"images": 2},
    "experiments": {"classifier": None, "slm": None, "csr-manual": None},
}
EVALUATION = {"evaluate_cams", "evaluate_masks", "thresholds"}


def write_config(folder: Path, root: Path, **data) -> None:
    chosen = {"source": "photos", "root": str(root), "max_side": 64, **data}
    (folder / "config.yaml").write_text(yaml.safe_dump(TINY | {"data": chosen}), encoding="utf-8")


def rules(text: str) -> set[str]:
    """The rules of a dry run."""
    return set(re.findall(r"^(\w+)\s+\d+$", text, flags=re.MULTILINE)) - {"total"}


@pytest.mark.slow
def test_odd_photographs_without_masks_from_end_to_end(tmp_path, odd_files, snakemake):
    write_config(tmp_path, odd_files, unreadable="left_out")
    assert not rules(snakemake(tmp_path, "--cores", 1, "--dry-run")) & EVALUATION
    snakemake(tmp_path, "--cores", 2)
    base = tmp_path / "results/mine"
    masks = base / "crf/csr-learned/seed0/masks"
    with Image.open(masks / "owl/8000x6000.png") as mask:
        assert mask.mode == "P"
        assert mask.size == (64, 48)
    assert "Nothing was evaluated" in (base / "tables/results.md").read_text()
    assert "fox" in (base / "tables/words.md").read_text()
    assert not (base / "evaluate").exists()
    for name in ("figures/panel.png", "figures/training.png"):
        assert (base / name).stat().st_size > 0
    assert "Nothing to be done" in snakemake(tmp_path, "--cores", 1, "--dry-run")


def test_masks_bring_the_evaluations_of_their_split(tmp_path, snakemake):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "abcd":
        Image.effect_noise((40, 30), 60).convert("RGB").save(photos / f"{name}.png")
    shutil.copy(photos / "a.png", photos / "mask.png")
    table = "image,labels,mask,split\na.png,dog,,train\nb.png,cat,,train\nc.png,dog,mask.png,val\nd.png,cat,,val\n"
    (photos / "labels.csv").write_text(table)
    write_config(tmp_path, photos)
    text = snakemake(tmp_path, "--cores", 1, "--dry-run")
    assert rules(text) & EVALUATION == {"evaluate_masks"}
    assert "segment.json" in text
    assert "crf.json" not in text
    (photos / "labels.csv").write_text(table.replace("a.png,dog,,", "a.png,dog,mask.png,"))
    assert rules(snakemake(tmp_path, "--cores", 1, "--dry-run")) >= EVALUATION


def test_an_oracle_without_masks_is_said_before_anything_runs(tmp_path, odd_files, snakemake):
    write_config(tmp_path, odd_files)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    config["crf"] = {"threshold": {"policy": "oracle"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    text = snakemake(tmp_path, "--cores", 1, "--dry-run", fails=True)
    assert "crf.threshold.policy" in text
    assert "Traceback" not in text


def test_downloads_stand_before_the_data_only_without_a_root(tmp_path, snakemake):
    for root, wanted in (("", True), ("/some/devkit", False)):
        config = {"preset": "voc12", "data": {"root": root}}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        assert ("download" in rules(snakemake(tmp_path, "--cores", 1, "--dry-run"))) == wanted
