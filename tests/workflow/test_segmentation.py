"""Segmentation in the workflow: true masks need no CAMs, and the test server's tar is made when asked for."""

import csv

import pytest

from semples.config.load import load
from semples.planning.graph import StageGraph, fingerprint, stages_of
from semples.planning.targets import Targets

TRUTH = {"segment": {"labels": "truth"}}
NETWORK = {"encoder": "tu-resnet10t", "weights": "none", "decoder_channels": 16, "crop": 64, "test_scales": [1.0]}


def plan() -> StageGraph:
    dropped = dict.fromkeys(["classifier", "slm", "csr-manual", "csr-learned"])
    return StageGraph(load({"preset": "mini", "experiments": {"csr": {}, "truth": TRUTH} | dropped}))


def test_true_masks_need_the_data_alone():
    found = plan()
    assert stages_of(found.settings["truth"]) == {"data", "segment", "segment_masks"}
    assert found.output_of("segment", "truth") == "truth"
    moved = found.settings["truth"].model_copy(update={"masks_from": "slm"})
    assert fingerprint(moved, "segment") == fingerprint(found.settings["truth"], "segment")


def test_a_row_of_true_masks_is_counted_without_maps():
    found = plan()
    alone = {"experiments": {"truth": TRUTH}, "tables": {}, "variants": {}}
    jobs = Targets(found.config.model_copy(update=alone)).jobs(["results"])
    assert {stage for stage, wanted in jobs.items() if wanted} == {"data", "segment", "segment_masks", "evaluate_masks"}


def test_a_row_of_true_masks_is_made_and_tabled(workflow_folder, snakemake):
    segment = {"epochs": 1, "batch": 4, "labels": "truth", **NETWORK}
    folder = workflow_folder(experiments={"truth": {}}, segment=segment, name="tiny", figures={"images": 2})
    words = snakemake(folder, "--cores", 1)
    assert "rule crf" not in words
    rows = list(csv.DictReader((folder / "results/tiny/tables/results.csv").open(encoding="utf-8")))
    assert [(row["variant"], row["measure"]) for row in rows] == [("truth", "segmentation")]
    assert (folder / "results/tiny/figures/panel.png").exists()


@pytest.mark.slow
def test_a_broken_validation_photograph_costs_no_training(workflow_folder, snakemake):
    segment = {"epochs": 1, "batch": 4, "labels": "truth", "curve_images": 0, **NETWORK}
    folder = workflow_folder(experiments={"truth": {}}, segment=segment, name="tiny", run={"threads": 1})
    masks = "results/tiny/segment/truth/seed0/predictions"
    snakemake(folder, "--cores", 1, "results/tiny/data/manifest.csv")
    photo = folder / "results/tiny/data/images/val_00000.png"
    whole = photo.read_bytes()
    photo.write_bytes(b"broken")
    assert "val_00000" in snakemake(folder, "--cores", 1, masks, fails=True)
    photo.write_bytes(whole)
    words = snakemake(folder, "--cores", 1, masks)
    assert "rule segment_masks:" in words
    assert "rule segment:" not in words
    assert (folder / masks / "val_00000.png").exists()


def test_beside_other_rows_it_takes_no_part_in_maps(workflow_folder, snakemake):
    folder = workflow_folder(experiments={"truth": TRUTH, "csr": {}}, name="tiny")
    words = snakemake(folder, "--cores", 1, "--dry-run")
    assert words.count("rule segment:") == words.count("rule segment_masks:") == 2
    assert words.count("rule crf:") == 1
    assert "results/tiny/crf/truth" not in words


def test_the_tar_of_the_test_server_is_made_by_name(workflow_folder, snakemake):
    folder = workflow_folder(experiments={"truth": TRUTH}, name="tiny")
    tar = "results/tiny/submission/truth/seed0/comp6_test_cls.tar"
    assert "rule submission:" not in snakemake(folder, "--cores", 1, "--dry-run")
    assert "rule submission:" in snakemake(folder, "--cores", 1, "--dry-run", tar)


def test_true_masks_that_are_not_there_are_one_error(workflow_folder, snakemake, tmp_path):
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl/one.jpg").write_bytes(b"never opened")
    data = {"source": "photos", "root": str(tmp_path)}
    folder = workflow_folder(experiments={"truth": TRUTH}, data=data, name="tiny")
    assert "segment.labels: pseudo" in snakemake(folder, "--cores", 1, "--dry-run", fails=True)
