"""`semples review`: what is most worth a look comes first, and the folder is ready for an annotation tool."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from page_checks import check_page
from test_cli import error
from test_inspect import write_cams

from semples.cli import main
from semples.data.images import write_mask
from semples.data.manifest import read_manifest
from semples.tools.review import Look, _doubts, _reasons, _usual_shares

LOOKS = [
    Look([], {"dog": 0.2}, 0.4),
    Look([], {"dog": 0.2}, 0.1),  # scores near the threshold
    Look(["cat"], {"dog": 0.2}, 0.4),  # a label without a pixel
    Look([], {"dog": 0.001}, 0.4),  # a tiny area
    Look([], {"dog": 0.2}, 0.4),
]


def test_missing_labels_come_first_then_low_margins_and_odd_areas():
    order = np.argsort(-_doubts(LOOKS, _usual_shares(LOOKS)), kind="stable").tolist()
    assert order[0] == 2
    assert set(order[1:3]) == {1, 3}


def test_the_reasons_name_labels_areas_and_margin():
    usual = _usual_shares(LOOKS)
    assert usual == {"dog": 0.2}
    assert _reasons(LOOKS[2], usual) == "no pixel of cat; dog 20.0%, usually 20.0%; margin 0.40"


@pytest.fixture
def inputs(odd_photos, tmp_path) -> tuple[Path, Path]:
    """CAMs of three images, and masks of which that of the second lacks its label."""
    images, masks = read_manifest(odd_photos), tmp_path / "masks"
    masks.mkdir()
    for number, row in enumerate(images.table.itertuples()):
        mask = np.zeros((row.height, row.width), np.uint8)
        if number != 1:
            mask[5:20, 5:20] = 1 + images.classes.names.index(row.labels.partition(";")[0])
        write_mask(masks / f"{row.id}.png", mask, images.classes.palette())
    return write_cams(tmp_path / "cams.h5", odd_photos), masks


def review(inputs, odd_photos, out: Path, *flags: object) -> str:
    words = ["review", inputs[0], "--masks", inputs[1], "--manifest", odd_photos, "--out", out, *flags]
    assert main([str(word) for word in words]) == 0
    return (out / "index.html").read_text()


def test_a_folder_with_a_page_photographs_and_masks(inputs, odd_photos, tmp_path, capsys):
    page = review(inputs, odd_photos, tmp_path / "out", "--images", 2)
    ids = re.findall(r'<article data-id="([^"]*)"', page)
    assert ids[0] == "odd 1"
    assert "no pixel of" in page
    assert not re.search(r"https?://|src=\"(?!data:)", page)
    check_page(page)
    assert sorted(path.stem for path in (tmp_path / "out/photographs").iterdir()) == sorted(ids)
    names = zipfile.ZipFile(tmp_path / "out/cvat/masks.zip").namelist()
    assert sorted(n for n in names if re.match("SegmentationClass/.*png", n)) == sorted(
        f"SegmentationClass/{name}.png" for name in ids
    )
    assert "2 of 3 images, most worth a look" in capsys.readouterr().out


def test_random_images_depend_on_the_seed_alone(inputs, odd_photos, tmp_path):
    flags = ("--images", 2, "--format", "labelstudio", "--random")
    pages = [review(inputs, odd_photos, tmp_path / f"out{i}", *flags, seed) for i, seed in enumerate([0, 0, 1, 2, 3])]
    drawn = [tuple(re.findall(r'<article data-id="([^"]*)"', page)) for page in pages]
    assert drawn[0] == drawn[1]
    assert len({*drawn}) > 1
    assert "drawn at random with seed 0" in pages[0]
    assert (tmp_path / "out0/labelstudio/tasks.json").is_file()


def test_a_missing_mask_is_an_error_and_leaves_nothing(inputs, odd_photos, tmp_path, capsys):
    (inputs[1] / "odd 2.png").unlink()
    words = ("review", inputs[0], "--masks", inputs[1], "--manifest", odd_photos, "--out", tmp_path / "out")
    assert "odd 2.png\n  found:    no such file" in error(capsys, *words)
    assert not (tmp_path / "out").exists()
