"""Bad input: one clear error that names file, found, expected and remedy; exit code not zero; nothing left behind."""

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from semples.cli import main

QUICK = {
    "run": {"device": "cpu", "threads": 1},
    "generator": {"name": "conv_cam", "weights": "none", "image_size": 32},
    "classify": {"epochs": 1, "batch": 3, "augment": {"crop_scale": [1, 1], "randaugment": 0}},
    "slm": {"epochs": 1, "batch": 2},
    "cpl": {"epochs": 1, "batch": 2, "length": 4},
}


def fails(capsys, folder: Path, settings: dict, *command: object) -> str:
    """Run a command that must fail and leave `folder` without a finished output; return its words."""
    assert main([str(command[0]), "--config", json.dumps(QUICK | settings), *map(str, command[1:])]) == 1
    words = capsys.readouterr().err
    text = words[words.index("error:") :]
    assert all(part in text for part in ("found:", "expected:", "remedy:"))
    left = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "checkpoints"]
    assert not left, left
    return text


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def classify(capsys, out, odd_photos):
    return lambda: fails(capsys, out, {}, "classify", "--manifest", odd_photos, "--out", out)


def test_missing_image(odd_photos, classify):
    (odd_photos.parent / "odd 1.png").unlink()
    assert "odd 1.png\n  found:    no such file" in classify()


def test_unreadable_jpeg(odd_photos, classify):
    photo = odd_photos.parent / "odd 1.png"
    Image.new("RGB", (64, 33)).save(photo, format="JPEG")
    photo.write_bytes(photo.read_bytes()[:200])
    assert "odd 1.png\n  found:    unreadable" in classify()


def test_text_instead_of_an_image(odd_photos, classify):
    (odd_photos.parent / "odd 0.png").write_text("not a picture")
    assert "odd 0.png\n  found:    unreadable" in classify()


def test_label_outside_the_class_list(odd_photos, classify):
    odd_photos.write_text(odd_photos.read_text().replace(",cat", ",wolf"))
    assert "label 'wolf' on image 'odd 1'" in classify()


def test_no_labels_at_all(odd_photos, classify):
    pd.read_csv(odd_photos).assign(labels="").to_csv(odd_photos, index=False)
    assert "no image with a label" in classify()


def test_unknown_split(capsys, out, odd_photos):
    text = fails(capsys, out, {"data": {"train": "trian"}}, "classify", "--manifest", odd_photos, "--out", out)
    assert "split 'trian'" in text
    assert "train" in text


def test_mask_of_another_size(capsys, out, odd_photos):
    masks = odd_photos.parent / "masks"
    masks.mkdir()
    for number, size in enumerate([(50, 40), (9, 9), (31, 48)]):
        Image.new("P", size).save(masks / f"odd {number}.png")
    settings = {"segment": {"encoder": "tu-resnet10t", "weights": "none", "batch": 2, "epochs": 1, "crop": 32}}
    text = fails(capsys, out, settings, "segment", "--manifest", odd_photos, "--masks", masks, "--out", out)
    assert "odd 1.png\n  found:    9x9 pixels\n  expected: 64x33 pixels" in text


def test_missing_pseudo_mask(capsys, out, odd_photos):
    settings = {"segment": {"encoder": "tu-resnet10t", "weights": "none"}}
    text = fails(capsys, out, settings, "segment", "--manifest", odd_photos, "--masks", out / "no", "--out", out)
    assert "make it with `semples crf`" in text


def test_unknown_key(capsys, out, odd_photos):
    text = fails(capsys, out, {"slm": {"wbg": 1}}, "classify", "--manifest", odd_photos, "--out", out)
    assert "unknown key `slm.wbg`" in text
    assert "perhaps `w_bg`" in text


def test_missing_generator_weights(capsys, out, odd_photos):
    settings = {
        "generator": {"name": "vit_cam", "backbone": "deit_tiny_patch16_224", "weights": "/no/such.safetensors"}
    }
    text = fails(capsys, out, settings, "classify", "--manifest", odd_photos, "--out", out)
    assert "/no/such.safetensors\n  found:    no such file" in text


def test_missing_guide(capsys, out, odd_photos):
    settings = {"guide": {"model": "local-dir:/no/such/guide"}}
    classes = odd_photos.with_name("classes.csv")
    assert "guide 'local-dir:/no/such/guide'" in fails(
        capsys, out, settings, "guide", "--classes", classes, "--out", out
    )


def test_unknown_guide_name(capsys, out, odd_photos):
    classes = odd_photos.with_name("classes.csv")
    text = fails(capsys, out, {"guide": {"model": "ViT-Z-99"}}, "guide", "--classes", classes, "--out", out)
    assert "guide 'ViT-Z-99'" in text


def test_missing_data_root(capsys, out):
    assert "data.root" in fails(capsys, out, {"data": {"source": "voc"}}, "data", "--out", out)


def test_stage_before_its_input(capsys, out, odd_photos):
    flags = ("--manifest", odd_photos, "--split", "train", "--generator", out / "no.safetensors", "--out", out / "c.h5")
    assert "make it with `semples csr`" in fails(capsys, out, {}, "cams", *flags)
