"""COCO JSON as exporters write it: what is read, what is refused with the entry named, and what keeps labels alone."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle

from semples.config.settings import Data, Run, Settings
from semples.data.images import read_mask
from semples.data.importers.coco import _runs
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.stages import data

pytestmark = pytest.mark.fault("bad files tried")

BOX = [4, 4, 20, 4, 20, 16, 4, 16]  # x, y of a rectangle in pictures of 32 x 24
PIXELS = 16 * 12
CATEGORIES = [{"id": 5, "name": "owl"}, {"id": 9, "name": "fox"}]


def instances(names: list[str], categories: list[dict] = CATEGORIES, **segmentation: Any) -> dict[str, list[dict]]:
    """One photograph per name, with an object of the categories in turn."""
    images = [{"id": key, "file_name": name, "width": 32, "height": 24} for key, name in enumerate(names)]
    objects = [
        {"id": k, "image_id": k, "category_id": categories[k % 2]["id"], "iscrowd": 0} for k in range(len(names))
    ]
    return {
        "images": images,
        "annotations": [entry | {"segmentation": [BOX]} | segmentation for entry in objects],
        "categories": deepcopy(categories),
    }


def photographs(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((32, 24), 60).convert("RGB").save(folder / name)


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def made(root: Path, out: Path, **settings) -> Manifest:
    data.run(Settings(data=Data(source="coco", root=str(root), **settings), run=Run(threads=1)), out)
    return read_manifest(out / "manifest.csv")


@pytest.fixture
def read(tmp_path) -> Callable[..., Manifest]:
    """Read a data set of three photographs whose first image or annotation is changed; None removes a key."""

    def call(part: str, change: dict[str, Any]) -> Manifest:
        names, value = ["a.jpg", "b.jpg", "c.jpg"], instances(["a.jpg", "b.jpg", "c.jpg"])
        entry = value[part][0]
        entry.update({key: new for key, new in change.items() if new is not ...})
        for key in [key for key, new in change.items() if new is ...]:
            del entry[key]
        photographs(tmp_path / "root/train2014", names)
        write(tmp_path / "root/annotations/instances_train2014.json", value)
        return made(tmp_path / "root", tmp_path / "out", val="train")

    return call


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("annotations", {"iscrowd": ...}),
        ("annotations", {"iscrowd": "0"}),
        ("annotations", {"iscrowd": None}),
        ("annotations", {"iscrowd": False}),
        ("annotations", {"segmentation": BOX}),
        ("annotations", {"segmentation": [list(map(str, BOX))]}),
        ("annotations", {"segmentation": [[4, 4], [20, 4], [20, 16], [4, 16]]}),
        ("annotations", {"segmentation": [[1, 1, 3, 3], BOX, []]}),
        ("annotations", {"image_id": "0", "category_id": 5.0}),
        ("images", {"width": ..., "height": ...}),
        ("images", {"width": None, "height": -1}),
        ("images", {"width": 32.0, "height": "24"}),
    ],
)
def test_what_means_one_thing_is_read(read, part, change):
    row = read(part, change).table.iloc[0]
    assert (row.labels, row.width, row.height) == ("owl", 32, 24)
    assert (read_mask(row["mask"]) == 1).sum() == PIXELS


@pytest.mark.parametrize("outline", [..., None, [], [[]], [[5, 5, 25, 20]], [[1, 2]], {}, ""])
def test_an_object_without_outline_gives_a_label_and_no_mask(read, outline, capsys):
    table = read("annotations", {"segmentation": outline}).table
    assert table["labels"].tolist() == ["owl", "fox", "owl"]
    assert [bool(mask) for mask in table["mask"]] == [False, True, True]
    assert "1 images have an object without an outline" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("annotations", {"segmentation": [[5, 5, 25]]}, r"'id': 0.*odd"),
        ("annotations", {"segmentation": [["a", "b", "c", "d", "e", "f"]]}, "'id': 0"),
        ("annotations", {"segmentation": "5 5 25 5"}, "text"),
        ("annotations", {"segmentation": {"counts": [100, 50], "size": [24, 32]}}, "run lengths of 150 pixels"),
        ("annotations", {"segmentation": {"counts": [100, 50]}}, "run lengths of 150 pixels"),
        ("annotations", {"segmentation": {"counts": [24 * 32], "size": [32, 24]}}, r"size \[32, 24\]"),
        ("annotations", {"segmentation": {"counts": [-100, 868], "size": [24, 32]}}, "run lengths"),
        ("annotations", {"segmentation": {"size": [24, 32]}}, "no 'counts'"),
        ("annotations", {"segmentation": {"counts": "nonsense", "size": [24, 32]}}, "run lengths"),
        ("annotations", {"segmentation": [[1e308, 1e309, 1, 1, 2, 2]]}, "no JSON"),
        ("annotations", {"iscrowd": "perhaps"}, "iscrowd 'perhaps'"),
        ("annotations", {"image_id": None}, "unknown image"),
        ("annotations", {"category_id": ...}, "no 'category_id'"),
        ("images", {"file_name": ...}, "no 'file_name'"),
        ("images", {"id": 1}, "two images of the id 1"),
        ("images", {"file_name": "b.jpg"}, r"two images of the file_name b\.jpg"),
        ("images", {"file_name": "a" * 300}, "no such file|unreadable|more than 251 bytes"),
        ("images", {"width": 1e400}, "no JSON"),
        ("images", {"width": "wide"}, "wide"),
        ("images", {"width": 10**6, "height": 10**6}, r"a\.jpg\n  found:    32x24 pixels"),
        ("categories", {"name": "fox"}, "a category twice"),
    ],
)
def test_what_cannot_be_read_is_named(read, part, change, message):
    with pytest.raises(
        SemplesError,
        match=rf"(instances_train2014\.json|a\.jpg)(.|\n)*{message}" if "found" not in message else message,
    ):
        read(part, change)


@pytest.mark.parametrize("entry", [7, [1, 2], None, "text"])
def test_entries_that_are_no_objects(tmp_path, entry):
    photographs(tmp_path / "train2014", ["a.jpg"])
    for part in ("images", "annotations", "categories"):
        value = instances(["a.jpg"])
        value[part].append(entry)
        write(tmp_path / "annotations/instances_train2014.json", value)
        with pytest.raises(SemplesError, match=part):
            made(tmp_path, tmp_path / "out", val="train")


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/instances_default.json", "images"),
        ("annotations/instances_default.json", "images/default"),
        ("result.json", "."),
        ("_annotations.coco.json", "."),
        ("labels.json", "data"),
        ("annotations/anything.json", "images"),
    ],
)
def test_one_file_is_divided_by_the_ids(tmp_path, file, folder):
    names = [f"{number}.jpg" for number in range(10)]
    photographs(tmp_path / "root" / folder, names)
    write(tmp_path / "root" / file, instances(names))
    images = made(tmp_path / "root", tmp_path / "out", val_fraction=0.3)
    assert images.table["split"].value_counts().to_dict() == {"train": 7, "val": 3}
    assert images.table["id"].tolist() == [str(number) for number in range(10)]


def test_label_studio_names_a_folder_and_data_root_may_be_the_json(tmp_path):
    names = [f"images/{number}.jpg" for number in range(4)]
    photographs(tmp_path / "root", names)
    write(tmp_path / "root/result.json", instances(names))
    for root in ("root", "root/result.json"):
        images = made(tmp_path / root, tmp_path / "out")
        assert images.table["id"].tolist() == [f"images/{number}" for number in range(4)]
        assert len(images.with_masks()) == 4


def test_roboflow(tmp_path):
    group = [{"id": 0, "name": "birds", "supercategory": "none"}]
    classes = [entry | {"supercategory": "birds"} for entry in CATEGORIES]
    for split in ("train", "valid", "test"):
        photographs(tmp_path / "root" / split, ["a.jpg", "b.jpg"])
        value = instances(["a.jpg", "b.jpg"], classes)
        write(tmp_path / f"root/{split}/_annotations.coco.json", value | {"categories": group + classes})
    images = made(tmp_path / "root", tmp_path / "out")
    assert images.classes.names == ("owl", "fox")
    assert images.table["split"].value_counts().to_dict() == {"train": 2, "val": 2, "test": 2}
    assert images.table["id"].tolist() == [f"{split}/{name}" for split in ("train", "val", "test") for name in "ab"]


def test_categories_of_further_files_are_matched_by_name(tmp_path):
    swapped = [{"id": 5, "name": "fox"}, {"id": 2, "name": "owl"}, {"id": 7, "name": "elk"}]
    for split, categories in {"train": CATEGORIES, "val": swapped}.items():
        photographs(tmp_path / "root" / f"{split}2014", [f"{split} a.jpg", f"{split} b.jpg"])
        value = instances([f"{split} a.jpg", f"{split} b.jpg"], categories)
        write(tmp_path / f"root/annotations/instances_{split}2014.json", value)
    table = made(tmp_path / "root", tmp_path / "out").table.set_index("id")
    assert table["labels"].to_dict() == {"train a": "owl", "train b": "fox", "val a": "fox", "val b": "owl"}
    assert np.unique(read_mask(table["mask"]["val a"])).tolist() == [0, 2]
    value["annotations"][0]["category_id"] = 7
    write(tmp_path / "root/annotations/instances_val2014.json", value)
    with pytest.raises(SemplesError, match=r"'category_id': 7(.|\n)*unknown"):
        made(tmp_path / "root", tmp_path / "again")


def test_a_mark_of_windows_and_addresses_for_names(tmp_path):
    photographs(tmp_path / "root/train", ["a.jpg", "b.jpg"])
    value = instances(["a.jpg", "b.jpg"])
    for entry in value["images"]:
        entry["coco_url"] = f"http://images.cocodataset.org/train2017/{entry.pop('file_name')}"
    write(tmp_path / "root/annotations/instances_train2017.json", value)
    path = tmp_path / "root/annotations/instances_train2017.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert made(tmp_path / "root", tmp_path / "out", val="train").table["id"].tolist() == ["a", "b"]


def test_paths_of_another_computer_are_found_by_name(tmp_path):
    photographs(tmp_path / "root/images", ["a.jpg", "b.jpg"])
    write(tmp_path / "root/result.json", instances(["C:\\shots\\a.jpg", "C:\\shots\\b.jpg"]))
    assert made(tmp_path / "root", tmp_path / "out").table["id"].tolist() == ["a", "b"]


def test_files_of_one_name_in_two_folders(tmp_path):
    names = ["a/0.jpg", "b/0.jpg"]
    photographs(tmp_path / "root/train2014", names)
    write(tmp_path / "root/annotations/instances_train2014.json", instances(names))
    table = made(tmp_path / "root", tmp_path / "out", val="train").table
    assert table["id"].tolist() == ["a/0", "b/0"]
    assert [np.unique(read_mask(mask)).max() for mask in table["mask"]] == [1, 2]


def test_background_is_no_class(tmp_path):
    categories = [{"id": 0, "name": "_Background_"}, *CATEGORIES, {"id": 11, "name": "ignore"}]
    photographs(tmp_path / "root/train2014", ["a.jpg", "b.jpg"])
    value = instances(["a.jpg", "b.jpg"])
    for category, x in {0: 5, 11: 11}.items():
        small = [[x, 5, x + 4, 5, x + 4, 9, x, 9]]
        value["annotations"].append({"id": x, "image_id": 0, "category_id": category, "segmentation": small})
    write(tmp_path / "root/annotations/instances_train2014.json", value | {"categories": categories})
    images = made(tmp_path / "root", tmp_path / "out", val="train")
    assert images.classes.names == ("owl", "fox")
    assert images.table["labels"].tolist() == ["owl", "fox"]
    mask = read_mask(images.table["mask"][0])
    assert np.bincount(mask.ravel())[[1, 255]].tolist() == [PIXELS - 32, 16]


def test_fractions_for_pixels_are_refused(tmp_path):
    photographs(tmp_path / "root/train2014", ["a.jpg"])
    outline = [[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]]
    write(tmp_path / "root/annotations/instances_train2014.json", instances(["a.jpg"], segmentation=outline))
    with pytest.raises(SemplesError, match=r"coordinates up to 0\.9 alone"):
        made(tmp_path / "root", tmp_path / "out", val="train")


def test_boxes_alone_are_refused_with_another_way(tmp_path):
    photographs(tmp_path / "root/train2014", ["a.jpg"])
    write(tmp_path / "root/annotations/instances_train2014.json", instances(["a.jpg"], segmentation=[]))
    with pytest.raises(SemplesError, match=r"no image with an outline of every object(.|\n)*photos"):
        made(tmp_path / "root", tmp_path / "out", val="train")


@given(st.lists(st.booleans(), min_size=1, max_size=400))
def test_compressed_run_lengths_are_decoded(pixels):
    mask = np.asfortranarray(np.array(pixels, np.uint8)[None])
    runs = _runs(rle.encode(mask)["counts"].decode())
    assert sum(runs) == len(pixels)
    assert [bool(value % 2) for value, run in enumerate(runs) for _ in range(run)] == pixels
