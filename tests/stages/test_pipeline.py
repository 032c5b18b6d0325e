"""The stages one after the other, by the command line, on a few drawn pictures."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from semples.cli import main

SETTINGS = json.dumps(
    {
        "run": {"device": "cpu", "threads": 1},
        "data": {"source": "mini", "scenes": {"train": 12, "val": 4}},
        "guide": {"model": "mini"},
        "generator": {"name": "conv_cam", "weights": "none", "image_size": 64},
        "masks_from": "csr",
        **{stage: {"epochs": 1, "batch": 4} for stage in ("classify", "slm", "csr")},
        "cpl": {"epochs": 1, "batch": 4, "length": 4},
        "cams": {"scales": [1.0], "stride": 2},
        "crf": {"preset": "mini"},
        "segment": {
            "encoder": "tu-resnet10t",
            "weights": "none",
            "decoder_channels": 16,
            "epochs": 1,
            "batch": 4,
            "crop": 64,
            "test_scales": [1.0],
        },
        "figures": {"images": 2},
    }
)


def semples(command: str, *flags: object) -> int:
    return plain(command, "--config", SETTINGS, *flags)


def plain(*arguments: object) -> int:
    """A command that takes no settings."""
    return main([str(word) for word in arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A folder with every stage's output."""
    out = tmp_path_factory.mktemp("run")
    data = ("--manifest", out / "data/manifest.csv")
    guide = ("--guide", out / "guide")
    first = ("--start", out / "classify/model.safetensors")
    steps = [
        ("data", "--out", out / "data"),
        ("guide", "--classes", out / "data/classes.csv", "--out", out / "guide"),
        ("classify", *data, "--out", out / "classify"),
        ("slm", *data, *guide, *first, "--out", out / "slm"),
        ("cpl", *data, *guide, "--generator", out / "slm/model.safetensors", "--out", out / "cpl"),
        ("csr", *data, *guide, *first, "--prompts", out / "cpl/prompts.safetensors", "--out", out / "csr"),
        ("cams", *data, "--split", "train", "--generator", out / "csr/model.safetensors", "--out", out / "cams.h5"),
        ("evaluate", *data, "--split", "train", "--cams", out / "cams.h5", "--out", out / "cams.json"),
        ("crf", *data, "--cams", out / "cams.h5", "--evaluation", out / "cams.json", "--out", out / "masks"),
        ("evaluate", *data, "--split", "train", "--masks", out / "masks", "--kind", "crf", "--out", out / "crf.json"),
        ("segment", *data, "--masks", out / "masks", "--out", out / "segment"),
        (
            *("segment_masks", *data, "--checkpoint", out / "segment/model.safetensors"),
            *("--out", out / "segment/predictions"),
        ),
        (
            *("evaluate", *data, "--split", "val", "--masks", out / "segment/predictions", "--kind", "segment"),
            *("--out", out / "segment.json"),
        ),
    ]
    for step in steps:
        assert semples(*step) == 0, step
    return out


def test_cams_hold_the_present_classes_of_every_image(run):
    with h5py.File(run / "cams.h5") as file:
        assert len(file["images"]) == 12
        for group in file["images"].values():
            score = group["score"][:]
            assert score.shape == (len(group.attrs["classes"]), 32, 32)
            assert score.min() >= 0
            assert score.max() <= 1


def test_cams_are_equal_bytes_when_made_again(run, tmp_path):
    flags = ("--manifest", run / "data/manifest.csv", "--split", "train", "--generator", run / "csr/model.safetensors")
    assert semples("cams", *flags, "--out", tmp_path / "again.h5") == 0
    assert (tmp_path / "again.h5").read_bytes() == (run / "cams.h5").read_bytes()


@pytest.mark.parametrize(("learned", "resize", "warns"), [(64, None, False), (224, None, True), (224, 224, False)])
def test_cams_warn_of_images_much_smaller_than_those_that_the_generator_learned_from(
    run, tmp_path, caplog, learned, resize, warns
):
    settings = json.loads(SETTINGS)
    settings["generator"]["image_size"] = learned
    settings["cams"]["resize"] = resize
    flags = ("--split", "train", "--generator", run / "csr/model.safetensors", "--out", tmp_path / "cams.h5")
    plain("cams", "--config", json.dumps(settings), "--manifest", run / "data/manifest.csv", *flags)
    expected = "median side of 64 pixels, the generator learned from 224: maps are coarse; try `cams: {resize: 224}`"
    assert (expected in caplog.text) == warns


def test_pseudo_masks_are_palette_pngs_of_present_classes(run):
    with h5py.File(run / "cams.h5") as file:
        for image, group in file["images"].items():
            mask = Image.open(run / "masks" / f"{image}.png")
            assert mask.mode == "P"
            assert mask.size == (64, 64)
            assert set(np.unique(mask)) <= {0, *(group.attrs["classes"] + 1)}


def test_crf_is_the_same_for_any_number_of_processes(run, tmp_path):
    flags = ("--manifest", run / "data/manifest.csv", "--cams", run / "cams.h5", "--evaluation", run / "cams.json")
    assert semples("crf", *flags, "--threads", 2, "--out", tmp_path / "masks") == 0
    for path in (tmp_path / "masks").iterdir():
        assert path.read_bytes() == (run / "masks" / path.name).read_bytes()


def test_segmentation_covers_the_validation_split_and_the_figures(run):
    names = {path.stem for path in (run / "segment/predictions").glob("*.png")}
    assert {name for name in names if name.startswith("val")} == {f"val_{i:05d}" for i in range(4)}
    assert len(names) == 6


def test_evaluations_say_what_they_judged(run):
    cams, segment = (json.loads((run / f"{name}.json").read_text()) for name in ("cams", "segment"))
    assert (cams["split"], cams["images"]) == ("train", 12)
    assert (segment["split"], segment["images"]) == ("val", 4)
    assert "torch" in segment["packages"]
    assert {"fixed", "oracle", "label-free"} <= set(cams["policies"]) <= {"fixed", "oracle", "label-free", "held-out"}
    for result in (*cams["policies"].values(), segment):
        low, high = result["interval"]
        assert 0 <= low <= high <= 1
        assert result["ignored"] == 0
        assert {"iou", "precision", "recall"} <= set(result["classes"]["background"])
    assert 0 <= segment["boundary_iou"] <= 1
    assert cams["policies"]["oracle"]["miou"] == max(cams["curve"]["miou"]) >= cams["policies"]["fixed"]["miou"]


def test_prompts_are_read_out_in_words(run):
    lines = (run / "cpl/words.csv").read_text().splitlines()
    assert lines[0] == "class,list,rank,word,cosine,lift"
    assert len(lines) == 1 + 6 * 2 * 10


def test_checkpoints_are_gone_after_success(run):
    assert not list(run.rglob("*.ckpt"))


def test_tables_of_two_seeds_show_mean_and_spread(run, tmp_path):
    flags = [f"csr:{seed}={run / name}" for seed in (0, 1) for name in ("cams.json", "crf.json", "segment.json")]
    assert plain("tables", "results", "--evaluation", *flags, "--note", "A note.", "--out", tmp_path / "t") == 0
    text = (tmp_path / "t/results.md").read_text()
    assert "CAM + CRF, train" in text
    assert "± 0.0" in text
    assert "seeds 0, 1" in text
    assert "A note." in text
    assert (tmp_path / "t/results.csv").read_text().count("\n") == 1 + 2 * 6


def test_one_photograph_of_one_class_is_enough(tmp_path):
    (tmp_path / "photos/owl").mkdir(parents=True)
    Image.effect_noise((90, 70), 60).convert("RGB").save(tmp_path / "photos/owl/one.jpg")
    own = {"data": {"source": "photos", "root": str(tmp_path / "photos")}, "masks_from": "classify"}
    own["classify"] = {"epochs": 20, "lr": 0.01, "batch": 1}  # masks of background alone are refused
    config = ("--config", json.dumps(json.loads(SETTINGS) | own))
    data = ("--manifest", tmp_path / "data/manifest.csv")
    model = ("--split", "train", "--generator", tmp_path / "classify/model.safetensors")
    network = tmp_path / "segment/model.safetensors"
    for step in (
        ("data", "--out", tmp_path / "data"),
        ("classify", *data, "--out", tmp_path / "classify"),
        ("cams", *data, *model, "--out", tmp_path / "cams.h5"),
        ("crf", *data, "--cams", tmp_path / "cams.h5", "--evaluation", "--out", tmp_path / "masks"),
        ("segment", *data, "--masks", tmp_path / "masks", "--out", tmp_path / "segment"),
        ("segment_masks", *data, "--checkpoint", network, "--out", tmp_path / "predictions"),
    ):
        assert main([step[0], *config, *map(str, step[1:])]) == 0, step
    with Image.open(tmp_path / "predictions/owl/one.png") as mask:
        assert mask.size == (90, 70)


def test_tables_without_evaluations_say_so(tmp_path):
    assert plain("tables", "results", "--evaluation", "--note", "A note.", "--out", tmp_path / "t") == 0
    assert "no image has a ground-truth mask" in (tmp_path / "t/results.md").read_text()
    assert "variant,seed,split" in (tmp_path / "t/results.csv").read_text()


def test_a_panel_of_images_of_which_one_has_a_mask(run, tmp_path):
    table = pd.read_csv(run / "data/manifest.csv", keep_default_na=False)
    for column in ("image", "mask"):
        table[column] = [str(run / "data" / path) for path in table[column]]
    table.loc[table.index[1:], "mask"] = ""
    table.to_csv(tmp_path / "manifest.csv", index=False)
    (tmp_path / "classes.csv").write_bytes((run / "data/classes.csv").read_bytes())
    flags = ("--manifest", tmp_path / "manifest.csv", "--split", "train", "--masks", f"crf={run / 'masks'}")
    settings = json.dumps(json.loads(SETTINGS) | {"figures": {"images": 12}})
    assert main(["figures", "panel", "--config", settings, *map(str, flags), "--out", str(tmp_path / "panel.png")]) == 0
    with Image.open(tmp_path / "panel.png") as picture:
        assert picture.height > 3 * picture.width


def test_figures_are_pictures(run, tmp_path):
    panel = ("--manifest", run / "data/manifest.csv", "--split", "train", "--cams", f"csr={run / 'cams.h5'}")
    panel += ("--masks", f"crf={run / 'masks'}")
    assert plain("figures", "panel", "--config", SETTINGS, *panel, "--out", tmp_path / "panel.png") == 0
    curve, losses = f"csr:0={run / 'cams.json'}", f"slm={run / 'slm/metrics.jsonl'}"
    assert plain("figures", "thresholds", "--evaluation", curve, "--out", tmp_path / "t.png") == 0
    assert plain("figures", "training", "--metrics", losses, "--out", tmp_path / "m.png") == 0
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as picture:
            assert len(set(picture.convert("L").getdata())) > 10
