"""The VOC importer, on a devkit made here and on the real photographs where they are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from semples.config.settings import Data, Run, Settings
from semples.data.images import read_mask, voc_palette
from semples.data.importers import voc
from semples.data.manifest import read_manifest
from semples.errors import SemplesError
from semples.stages import data

XML = "<annotation>{}</annotation>"
OBJECT = "<object><name>{}</name><difficult>1</difficult></object>"


@pytest.fixture
def devkit(tmp_path) -> Path:
    root = tmp_path / "VOCdevkit"
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / "VOC2012" / folder).mkdir(parents=True)
    kit = root / "VOC2012"
    for name, objects in {"1": ["dog", "cat", "dog"], "2": ["person"], "3": ["car"]}.items():
        Image.new("RGB", (20, 10)).save(kit / "JPEGImages" / f"{name}.jpg")
        Image.new("P", (20, 10)).save(kit / "SegmentationClassAug" / f"{name}.png")
        text = XML.format("".join(map(OBJECT.format, objects)))
        (kit / "Annotations" / f"{name}.xml").write_text(text)
    Image.new("P", (20, 10)).save(kit / "SegmentationClass" / "1.png")
    for split, ids in {"train": "1", "val": "2", "train_aug": "1\n3"}.items():
        (kit / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(ids + "\n")
    return root


def test_labels_splits_and_masks(devkit):
    table = voc.table(devkit).set_index("id")
    assert table["labels"].to_dict() == {"1": "cat;dog", "2": "person", "3": "car"}
    assert table["split"].to_dict() == {"1": "train;train_aug", "2": "val", "3": "train_aug"}
    assert Path(table["mask"]["1"]).parent.name == "SegmentationClass"
    assert table["mask"]["2"] == ""
    assert Path(table["mask"]["3"]).parent.name == "SegmentationClassAug"


def test_the_folder_voc2012_itself_will_do(devkit):
    assert len(voc.table(devkit / "VOC2012")) == 3


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff1\r\n\r\n3\r\n",
        "/JPEGImages/1.jpg /SegmentationClassAug/1.png\n/JPEGImages/3.jpg /SegmentationClassAug/3.png\n",
        "/home/me/VOC2012/JPEGImages/1.jpg\nC:\\VOC\\JPEGImages\\3.JPG",
        "1 1 0 0\n  3\t-1\n\n",
    ],
)
def test_lists_of_other_projects(devkit, text):
    (devkit / "VOC2012/ImageSets/Segmentation/train_aug.txt").write_text(text, newline="")
    splits = voc.table(devkit).set_index("id")["split"].to_dict()
    assert splits == {"1": "train;train_aug", "2": "val", "3": "train_aug"}


def test_a_list_that_is_no_text_and_an_annotation_of_unknown_letters(devkit):
    (devkit / "VOC2012/Annotations/2.xml").write_text('<?xml version="1.0" encoding="klingon"?><annotation/>')
    with pytest.raises(SemplesError, match=r"2\.xml\n  found:    no XML"):
        voc.table(devkit)
    (devkit / "VOC2012/ImageSets/Segmentation/val.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(SemplesError, match=r"val\.txt\n  found:    unreadable"):
        voc.table(devkit)


def test_official_colours():
    assert voc_palette()[[1, 15, 20, 255]].tolist() == [[128, 0, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192]]
    assert voc.CLASSES.palette()[:21].tolist() == voc_palette()[:21].tolist()


def made(root: Path, out: Path, threads: int = 1, **settings):
    """The manifest that `semples data` writes."""
    data.run(Settings(data=Data(source="voc", root=str(root), **settings), run=Run(threads=threads)), out)
    return read_manifest(out / "manifest.csv")


def test_missing_image(devkit, tmp_path):
    (devkit / "VOC2012/JPEGImages/3.jpg").unlink()
    with pytest.raises(SemplesError, match=r"3\.jpg\n  found:    no such file"):
        made(devkit, tmp_path / "out")


def test_missing_annotation(devkit):
    (devkit / "VOC2012/Annotations/2.xml").unlink()
    with pytest.raises(SemplesError, match=r"2\.xml\n  found:    no such file"):
        voc.table(devkit)


def test_object_outside_the_class_list(devkit):
    (devkit / "VOC2012/Annotations/2.xml").write_text(XML.format(OBJECT.format("wolf")))
    with pytest.raises(SemplesError, match="object 'wolf'"):
        voc.table(devkit)


def test_mask_of_another_size(devkit, tmp_path):
    Image.new("P", (21, 10)).save(devkit / "VOC2012/SegmentationClass/1.png")
    with pytest.raises(SemplesError, match=r"1\.png\n  found:    21x10 pixels\n  expected: 20x10"):
        made(devkit, tmp_path / "out")


def test_difficult_objects_are_a_choice(devkit):
    (devkit / "VOC2012/Annotations/2.xml").write_text(
        XML.format(OBJECT.format("person") + "<object><name>car</name></object>")
    )
    assert voc.table(devkit).set_index("id")["labels"]["2"] == "car;person"
    assert voc.table(devkit, difficult="excluded").set_index("id")["labels"].to_dict() == {"1": "", "2": "car", "3": ""}


def test_train_aug_from_the_mat_files_of_sbd(devkit, tmp_path):
    drawn = np.arange(200, dtype=np.uint8).reshape(10, 20) % 21
    (folder := tmp_path / "sbd/cls").mkdir(parents=True)
    for name in ("1", "2", "3"):
        savemat(folder / f"{name}.mat", {"GTcls": {"Segmentation": drawn, "CategoriesPresent": [1]}})
    (devkit / "VOC2012/ImageSets/Segmentation/train_aug.txt").unlink()
    images = made(devkit, tmp_path / "out", sbd=str(folder.parent), train="train_aug").table.set_index("id")
    assert images["split"].to_dict() == {"1": "train;train_aug", "2": "val", "3": "train_aug"}
    assert Path(images["mask"]["1"]).parent.name == "SegmentationClass"
    assert np.array_equal(read_mask(images["mask"]["3"]), drawn)
    with Image.open(images["mask"]["3"]) as image:
        assert image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]


@pytest.mark.parametrize("threads", [1, 2])
def test_broken_mat_file(devkit, tmp_path, threads):
    (tmp_path / "3.mat").write_bytes(b"no matrix")
    with pytest.raises(SemplesError, match=r"3\.mat\n  found:    unreadable"):
        made(devkit, tmp_path / "out", threads, sbd=str(tmp_path), train="train_aug")


def test_a_read_only_devkit_is_left_untouched(devkit, tmp_path):
    before = sorted((path, path.lstat().st_mtime_ns) for path in devkit.rglob("*"))
    for path in [devkit, *devkit.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    made(devkit, tmp_path / "out")
    assert sorted((path, path.lstat().st_mtime_ns) for path in devkit.rglob("*")) == before
    for path in [devkit, *devkit.rglob("*")]:
        path.chmod(0o755)


def test_no_devkit(tmp_path):
    with pytest.raises(SemplesError, match="no folder JPEGImages"):
        voc.table(tmp_path)


def test_real_labels_equal_the_published_ones(shared, tmp_path):
    images = made(shared / "data" / "VOCdevkit", tmp_path / "out")
    public = np.load(shared / "data" / "lists" / "voc12" / "cls_labels.npz")
    row = {str(image): number for number, image in enumerate(public["ids"])}
    expected = public["labels"][[row[image] for image in images.table["id"]]]
    assert len(images) == 632
    assert np.array_equal(images.label_matrix(), expected)
