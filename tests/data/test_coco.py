"""The COCO importer, on annotations made here and on real photographs where they are."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from semples.config.settings import Data, Run, Settings
from semples.data.images import read_mask
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.stages import data


def square(image: int, category: int, box: tuple[int, int, int, int], number: int) -> dict:
    x, y, w, h = box
    outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {"id": number, "image_id": image, "category_id": category, "iscrowd": 0, "segmentation": outline}


ANNOTATIONS = {
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
    "images": [
        {"id": 7, "file_name": "COCO_train2014_7.jpg", "width": 30, "height": 20},
        {"id": 3, "file_name": "COCO_train2014_3.jpg", "width": 30, "height": 20},
    ],
    "annotations": [
        square(7, 90, (4, 4, 3, 3), 1),  # small, and listed before the large one that it lies in
        square(7, 1, (2, 2, 10, 10), 2),
        {
            **{"id": 3, "image_id": 7, "category_id": 18, "iscrowd": 1},
            "segmentation": {"counts": [0, 20 * 5, 20 * 25], "size": [20, 30]},  # the first five columns
        },
    ],
}


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "train2014").mkdir()
    (root / "annotations/instances_train2014.json").write_text(json.dumps(ANNOTATIONS))
    for entry in ANNOTATIONS["images"]:
        Image.new("RGB", (entry["width"], entry["height"])).save(root / "train2014" / entry["file_name"])
    return root


def made(root: Path, out: Path, threads: int = 1, **settings) -> Manifest:
    coco = Data(source="coco", root=str(root), val="train", **settings)
    data.run(Settings(data=coco, run=Run(threads=threads)), out)
    return read_manifest(out / "manifest.csv")


def test_classes_are_contiguous_in_the_order_of_their_ids(folder, tmp_path):
    images = made(folder, tmp_path / "out")
    assert images.classes.names == ("person", "dog", "toothbrush")
    assert images.table["id"].tolist() == ["COCO_train2014_3", "COCO_train2014_7"]
    assert images.table["labels"].tolist() == ["", "person;dog;toothbrush"]


@pytest.mark.parametrize(("crowd", "value"), [("void", 255), ("object", 2), ("left_out", 0)])
def test_crowds_are_a_choice(folder, tmp_path, crowd, value):
    row = made(folder, tmp_path / "out", crowd=crowd).table.set_index("id").loc["COCO_train2014_7"]
    mask = read_mask(row["mask"], (20, 30))
    assert ("dog" in row["labels"]) == (crowd != "left_out")
    assert mask[15, 2] == value
    assert mask[3, 3] == 1  # an object lies over a crowd
    assert mask[5, 5] == 3  # a small object over a large one
    assert mask[15, 20] == 0


def test_the_first_object_in_the_file_wins_on_request(folder, tmp_path):
    large_first = [ANNOTATIONS["annotations"][1], ANNOTATIONS["annotations"][0], ANNOTATIONS["annotations"][2]]
    path = folder / "annotations/instances_train2014.json"
    for number, (annotations, small) in enumerate([(ANNOTATIONS["annotations"], 3), (large_first, 1)]):
        path.write_text(json.dumps({**ANNOTATIONS, "annotations": annotations}))
        rows = made(folder, tmp_path / str(number), overlap="first", crowd="object").table.set_index("id")
        mask = read_mask(rows.loc["COCO_train2014_7"]["mask"], (20, 30))
        assert mask[5, 5] == small
        assert mask[3, 3] == 1  # the crowd is the last in the file
        assert mask[15, 2] == 2


def test_masks_are_the_same_for_any_number_of_processes(folder, tmp_path):
    made(folder, tmp_path / "one", 1)
    made(folder, tmp_path / "two", 2)
    for path in (tmp_path / "one/masks/train").iterdir():
        assert path.read_bytes() == (tmp_path / "two/masks/train" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('"image_id": 7, "category_id": 90', "'id': 1, 'image_id': 7, 'category_id': 91, .*unknown image or category"),
        ('2014_3.jpg", "width": 30', r"30x20 pixels\n  expected: 31x20"),
        ('2014_7.jpg", "width": 30', "'id': 3, 'image_id': 7, .*run lengths of 600 pixels"),
        ('"categories"', "no categories"),
        ('{"categories"', "no JSON"),
    ],
)
def test_broken_annotations(folder, tmp_path, change, message):
    path = folder / "annotations/instances_train2014.json"
    wrong = {'"image_id": 7, "category_id": 90': '"image_id": 7, "category_id": 91'}
    wrong |= {name: name.replace("30", "31") for name in ('2014_3.jpg", "width": 30', '2014_7.jpg", "width": 30')}
    wrong |= {'"categories"': '"kategorien"', '{"categories"': '{"categories'}
    path.write_text(path.read_text().replace(change, wrong[change]))
    with pytest.raises(SemplesError, match=message):
        made(folder, tmp_path / "out")


def test_folders_that_are_not_there(folder, tmp_path):
    (folder / "train2014").rename(folder / "elsewhere")
    with pytest.raises(SemplesError, match=r"train2014\n  found:    no photograph such as COCO_train2014_3\.jpg"):
        made(folder, tmp_path / "out")
    with pytest.raises(SemplesError, match="no annotations/instances_train"):
        made(folder / "elsewhere", tmp_path / "out")


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory) -> tuple[Manifest, COCO]:
    root = shared / "data" / "coco128"
    images = made(root, tmp_path_factory.mktemp("coco128") / "out")
    return images, COCO(root / "annotations/instances_train2017.json")


def test_real_labels(real):
    images, reference = real
    assert (len(images), len(images.classes)) == (128, 80)
    names = {key: entry["name"] for key, entry in reference.cats.items()}
    for row in images.table.itertuples():
        annotations = reference.imgToAnns[int(row.id)]
        assert set(filter(None, row.labels.split(";"))) == {names[a["category_id"]] for a in annotations}


def test_real_masks_agree_with_the_decoding_of_pycocotools(real):
    images, reference = real
    index = {key: number for number, key in enumerate(sorted(reference.cats), start=1)}
    for row in images.table.itertuples():
        expected = np.zeros((row.height, row.width), np.uint8)
        regions = [(a, reference.annToMask(a).astype(bool)) for a in reference.imgToAnns[int(row.id)]]
        for annotation, pixels in regions:
            if annotation["iscrowd"]:
                expected[pixels] = 255
        for annotation, pixels in sorted(regions, key=lambda region: -region[1].sum()):
            if not annotation["iscrowd"]:
                expected[pixels] = index[annotation["category_id"]]
        assert np.array_equal(read_mask(row.mask, expected.shape), expected), row.id
