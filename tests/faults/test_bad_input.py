"""Bad input: one clear error that names file, found, expected and remedy; exit code not zero; nothing left behind."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from semples.cli import main

pytestmark = pytest.mark.fault("bad files tried")

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


def test_unknown_generator(capsys, out, odd_photos):
    settings = {"generator": {"name": "weak_tr"}}
    text = fails(capsys, out, settings, "classify", "--manifest", odd_photos, "--out", out)
    assert "generator.name: 'weak_tr'" in text
    assert "weaktr, vit_cam, frozen_vit, resnet_cam, conv_cam, or path/to/file.py:Class" in text


def test_own_generator_without_its_class(capsys, out, odd_photos):
    (odd_photos.parent / "mine.py").write_text("Mine = 3\n")
    settings = {"generator": {"name": f"{odd_photos.parent / 'mine.py'}:Mine"}}
    text = fails(capsys, out, settings, "classify", "--manifest", odd_photos, "--out", out)
    assert "mine.py\n  found:    Mine: 3\n  expected: a Python file with a class Mine(MaskGenerator)" in text


def test_weights_that_are_none(capsys, out, odd_photos):
    (odd_photos.parent / "weights.pth").write_text("hello")
    settings = {"generator": {"name": "conv_cam", "weights": str(odd_photos.parent / "weights.pth")}}
    text = fails(capsys, out, settings, "classify", "--manifest", odd_photos, "--out", out)
    assert "weights.pth\n  found:    no weights" in text


def test_guide_without_weights(capsys, out, odd_photos):
    classes = odd_photos.with_name("classes.csv")
    text = fails(capsys, out, {"guide": {"model": "ViT-B-32"}}, "guide", "--classes", classes, "--out", out)
    assert "none for 'ViT-B-32', which would be random weights" in text
    assert "openai" in text


def test_guide_weights_of_another_digest(capsys, out, odd_photos):
    classes, settings = odd_photos.with_name("classes.csv"), {"guide": {"model": "mini", "sha256": "0" * 64}}
    text = fails(capsys, out, settings, "guide", "--classes", classes, "--out", out)
    assert f"expected: sha256 {'0' * 64}" in text


def test_no_class(capsys, out, odd_photos):
    odd_photos.with_name("classes.csv").write_text("name,text,colour\n")
    text = fails(capsys, out, {}, "guide", "--classes", odd_photos.with_name("classes.csv"), "--out", out)
    assert "classes.csv\n  found:    no class" in text


def test_empty_guide_word(capsys, out, odd_photos):
    classes, settings = odd_photos.with_name("classes.csv"), {"guide": {"words": ["sea", " "]}}
    text = fails(capsys, out, settings, "guide", "--classes", classes, "--out", out)
    assert "`guide.words.1: ' '`" in text


@pytest.fixture
def guide(tmp_path_factory, odd_photos) -> Path:
    folder = tmp_path_factory.mktemp("guide") / "guide"
    flags = ("--classes", str(odd_photos.with_name("classes.csv")), "--out", str(folder))
    assert main(["guide", "--config", json.dumps(QUICK), *flags]) == 0
    return folder


def cpl(capsys, out: Path, manifest: Path, guide: Path, **settings) -> str:
    flags = ("--manifest", manifest, "--guide", guide, "--out", out)
    return fails(capsys, out, {"cpl": QUICK["cpl"] | settings}, "cpl", *flags)


def test_prompt_too_long(capsys, out, odd_photos, guide):
    cams = odd_photos.parent / "cams"
    cams.mkdir()
    for number, (height, width) in enumerate([(40, 50), (33, 64), (48, 31)]):
        np.save(cams / f"odd {number}.npy", np.zeros((1, height, width), np.float32))
    assert "cpl.length\n  found:    72" in cpl(capsys, out, odd_photos, guide, start=str(cams), length=72)


def test_cams_of_another_class_count(capsys, out, odd_photos, guide):
    cams = odd_photos.parent / "cams"
    cams.mkdir()
    for number in range(3):
        np.save(cams / f"odd {number}.npy", np.zeros((5, 8, 8), np.float32))
    text = cpl(capsys, out, odd_photos, guide, start=str(cams))
    assert "an array of shape (5, 8, 8)\n  expected: (1 present classes or all 2, height, width), without" in text


def test_pickled_cams_are_not_read(capsys, out, odd_photos, guide):
    cams = odd_photos.parent / "cams"
    cams.mkdir()
    for number in range(3):
        np.save(cams / f"odd {number}.npy", np.array({0: np.zeros((8, 8))}, dtype=object))
    assert "expected: a plain float array" in cpl(capsys, out, odd_photos, guide, start=str(cams))


def test_prompts_without_maps_to_learn_from(capsys, out, odd_photos, guide):
    assert "'slm', and no generator" in cpl(capsys, out, odd_photos, guide)


def test_missing_cams(capsys, out, odd_photos, guide):
    assert "/no/cams\n  found:    no such file" in cpl(capsys, out, odd_photos, guide, start="/no/cams")


def test_selection_by_masks_that_are_not_there(capsys, out, odd_photos, guide):
    model = odd_photos.parent / "model" / "model.safetensors"
    assert (
        main(["classify", "--config", json.dumps(QUICK), "--manifest", str(odd_photos), "--out", str(model.parent)])
        == 0
    )
    pd.read_csv(odd_photos).assign(mask="").to_csv(odd_photos, index=False)
    flags = ("--manifest", odd_photos, "--guide", guide, "--start", model, "--out", out)
    text = fails(capsys, out, {"selection": {"policy": "oracle"}}, "slm", *flags)
    assert "selection.policy\n  found:    'oracle', and no training image with a mask" in text
