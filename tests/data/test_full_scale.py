"""Manifests of the full lists: 12,031 entries of VOC and 82,081 of COCO, their images stubs, in time and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semples.data.importers.voc import NAMES
from semples.data.manifest import read_manifest

# what is measured: the command `semples data` without the drawing of masks, which is not the manifest's
MEASURED = """
import json, sys, time
from pathlib import Path
from semples.data.importers import coco, voc
from semples.data.scan import scan_images, scanned_table
from semples.data.manifest import write_manifest
from semples.config.settings import Data

begun, root, out = time.monotonic(), Path(sys.argv[2]), Path(sys.argv[3])
data = Data(source=sys.argv[1], root=str(root), decode_check=False)
coco.map_processes = lambda _work, jobs, *_rest: ["" for _ in jobs]
classes, table = {"voc": voc, "coco": coco}[data.source].load(data, out, 1)
table = scanned_table(table, list(scan_images(table, classes, data, out, 1)))
write_manifest(out / "manifest.csv", table, classes)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))  # getrusage counts the parent's memory too
peak = int(status["VmHWM"].split()[0]) * 1024 / 1e9
print(json.dumps({"seconds": time.monotonic() - begun, "gigabytes": peak}))
"""
OBJECTS = 1  # of a class in an image; with 3 the annotations are as long as those of COCO (443 MB)
LINKS = 50_000  # of one file; file systems allow some 65,000


def stubs(folder: Path, names: list[str], size: tuple[int, int]) -> None:
    """A photograph of (width, height) under every name."""
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        if number % LINKS == 0:
            Image.new("RGB", size).save(source := folder.parent / f"stub {number}.jpg")
        os.link(source, folder / name)


def measure(source: str, root: Path, out: Path) -> dict[str, float]:
    command = [sys.executable, "-c", MEASURED, source, root, out]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    usage = json.loads(done.stdout)
    print(source, usage)
    assert usage["gigabytes"] < 2
    return usage


def test_voc(shared, tmp_path):
    lists = shared / "data/lists/voc12"
    kit = tmp_path / "VOC2012"
    public = np.load(lists / "cls_labels.npz")
    labels = {str(image): row > 0 for image, row in zip(public["ids"], public["labels"], strict=True)}
    stubs(kit / "JPEGImages", [f"{image}.jpg" for image in labels], (500, 375))
    (kit / "Annotations").mkdir()
    for image, present in labels.items():
        objects = "".join(f"<object><name>{NAMES[k]}</name></object>" for k in np.flatnonzero(present))
        (kit / f"Annotations/{image}.xml").write_text(f"<annotation>{objects}</annotation>")
    (kit / "ImageSets/Segmentation").mkdir(parents=True)
    for split in ("train", "val", "train_aug"):
        (kit / f"ImageSets/Segmentation/{split}.txt").write_text((lists / f"{split}.txt").read_text())
    measure("voc", kit, tmp_path / "out")
    images = read_manifest(tmp_path / "out/manifest.csv")
    assert {name: len(images.split(name)) for name in ("train", "val", "train_aug")} == {
        "train": 1464,
        "val": 1449,
        "train_aug": 10582,
    }
    expected = np.array([labels[image] for image in images.table["id"]])
    assert np.array_equal(images.label_matrix() > 0, expected)


@pytest.fixture
def coco_lists(shared, tmp_path) -> dict[str, list[int]]:
    """{image name: classes from 0} of the train list, and an instances JSON with an outline for every entry."""
    lines = (shared / "data/lists/coco14/train_with_labels.txt").read_text().splitlines()
    present = {name: sorted({int(k) for k in rest}) for name, *rest in map(str.split, lines)}
    identifiers = [k for k in range(1, 91) if k not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
    circle = [round(v, 2) for a in np.linspace(0, 6.28, 30) for v in (320 + 99 * np.cos(a), 240 + 99 * np.sin(a))]
    images, annotations = [], []
    for number, (name, classes) in enumerate(present.items()):
        images.append({"id": number, "file_name": f"{name}.jpg", "width": 640, "height": 480})
        for k in classes * OBJECTS:
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": identifiers[k], "iscrowd": 0}
                | {"segmentation": [circle], "area": 30000.0, "bbox": [221.0, 141.0, 198.0, 198.0]}
            )
    categories = [{"id": key, "name": f"class {k}"} for k, key in enumerate(identifiers)]
    (tmp_path / "annotations").mkdir()
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    (tmp_path / "annotations/instances_train2014.json").write_text(text)
    return present


@pytest.mark.slow
def test_coco(coco_lists, tmp_path):
    stubs(tmp_path / "train2014", [f"{name}.jpg" for name in coco_lists], (640, 480))
    measure("coco", tmp_path, tmp_path / "out")
    images = read_manifest(tmp_path / "out/manifest.csv")
    assert (len(images), len(images.classes)) == (82081, 80)
    for row in images.table.sample(500, random_state=0).itertuples():
        assert row.labels == ";".join(f"class {k}" for k in coco_lists[row.id])
