"""Exports of Label Studio and CVAT: labels and masks come back, and mistakes are one clear error."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_cli import error
from test_export_masks import expected, export, masks  # noqa: F401  (fixtures)

from semples.cli import main
from semples.config.settings import Data, Settings
from semples.data.exporters.label_studio import pack, unpack
from semples.data.images import read_mask
from semples.data.manifest import read_manifest
from semples.stages import data

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<image id="0" name="odd 0.png" width="50" height="40">
  <tag label="owl" source="manual"/>
  <polygon label="dog" z_order="0" points="10,5;20,5;20,15;10,15"/>
  <mask label="cat" z_order="1" rle="1, 2, 1, 2" left="12" top="6" width="3" height="2"/>
</image>
<image id="1" name="photos/odd 1.png" width="64" height="33"><box label="cat" xtl="1" ytl="1" xbr="5" ybr="5"/></image>
<image id="2" name="odd 2.png" width="31" height="48"></image>
</annotations>"""


def imported(path: Path, manifest: Path, out: Path) -> pd.DataFrame:
    assert main(["import-labels", str(path), "--manifest", str(manifest), "--out", str(out)]) == 0
    return pd.read_csv(out / "labels.csv", keep_default_na=False).set_index("id")


def annotated(folder: Path, prefix: str = "/data/upload/1/ab12cd34-") -> Path:
    """The exported predictions as a person would save them."""
    tasks = json.loads((folder / "tasks.json").read_text())
    for task in tasks:
        task["data"]["image"] = prefix + task["data"]["image"].rsplit("/", 1)[-1].replace(" ", "%20")
        old = {"updated_at": "2026-01-01", "result": []}
        lost = {"updated_at": "2026-03-01", "result": [], "was_cancelled": True}
        task["annotations"] = [old, {"updated_at": "2026-02-01", "result": task.pop("predictions")[0]["result"]}, lost]
    path = folder.parent / "export.json"
    path.write_text(json.dumps(tasks))
    return path


@pytest.mark.parametrize("kind", ["labelstudio", "cvat"])
def test_masks_come_back_as_they_went(kind, export, masks, odd_photos, tmp_path):  # noqa: F811
    out = export(kind)
    path = annotated(out) if kind == "labelstudio" else out / "masks.zip"
    rows = imported(path, odd_photos, tmp_path / "back")
    for name, truth in expected(masks).items():
        truth = np.where(truth == 255, 0, truth)
        assert np.array_equal(read_mask(tmp_path / "back" / rows.loc[name]["mask"]), truth)
        assert rows.loc[name]["labels"] == "dog;cat"


def test_photos_read_what_import_labels_wrote(export, odd_photos, tmp_path):  # noqa: F811
    imported(export("cvat") / "masks.zip", odd_photos, tmp_path / "back")
    photos = Data(source="photos", root=str(tmp_path / "back"), val_fraction=0.4)
    data.run(Settings(data=photos), tmp_path / "data")
    images = read_manifest(tmp_path / "data/manifest.csv")
    assert images.classes.names == ("dog", "cat")
    assert images.classes.colours == read_manifest(odd_photos).classes.colours
    assert len(images.with_masks()) == 3


def test_the_table_is_found_from_elsewhere_though_the_manifest_was_relative(odd_photos, tmp_path, monkeypatch):
    (tmp_path / "annotations.xml").write_text(CVAT)
    monkeypatch.chdir(odd_photos.parent)
    rows = imported(tmp_path / "annotations.xml", Path(odd_photos.name), tmp_path / "back")
    monkeypatch.chdir("/")
    assert all((tmp_path / "back" / path).is_file() for path in [*rows["image"], *rows["mask"]])


def test_cvat_for_images_has_tags_polygons_masks_and_boxes(odd_photos, tmp_path, capsys):
    (tmp_path / "annotations.xml").write_text(CVAT)
    rows = imported(tmp_path / "annotations.xml", odd_photos, tmp_path / "back")
    before = read_manifest(odd_photos).table.set_index("id")
    truth = np.zeros((40, 50), np.uint8)
    truth[5:15, 10:20] = 1
    truth[6, 13:15] = truth[7, 13:15] = 2  # row by row: one out, two in, one out, two in
    assert np.array_equal(read_mask(tmp_path / "back" / rows.loc["odd 0"]["mask"]), truth)
    assert rows.loc["odd 0"]["labels"] == "dog;cat;owl"
    assert rows.loc["odd 1"]["labels"] == "cat"
    assert rows.loc["odd 1"]["mask"] == before.loc["odd 1"]["mask"]
    assert rows.loc["odd 2"]["labels"] == before.loc["odd 2"]["labels"]
    assert pd.read_csv(tmp_path / "back/classes.csv")["name"].tolist() == ["dog", "cat", "owl"]
    assert "2 annotated images, 1 masks, 3 images in all; new classes: owl" in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("annotations.xml", CVAT)
    assert imported(tmp_path / "export.zip", odd_photos, tmp_path / "again")["labels"].equals(rows["labels"])


def test_choices_and_polygons_of_label_studio(odd_photos, tmp_path):
    value = {"type": "choices", "value": {"choices": ["cat", "owl"]}}
    polygon = {"polygonlabels": ["dog"], "points": [[20, 12.5], [40, 12.5], [40, 37.5], [20, 37.5]]}
    shape = {"type": "polygonlabels", "original_width": 50, "original_height": 40, "value": polygon}
    tasks = [
        {"data": {"image": "/data/local-files/?d=my/odd%201.png"}, "annotations": [{"result": [value]}]},
        {"data": {"image": "s3://bucket/odd 0.png"}, "annotations": [{"result": [shape]}]},
        {"data": {"image": "odd 2.png"}, "annotations": []},
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    rows = imported(tmp_path / "export.json", odd_photos, tmp_path / "back")
    assert rows.loc["odd 1"]["labels"] == "cat;owl"
    mask = read_mask(tmp_path / "back" / rows.loc["odd 0"]["mask"])
    assert np.array_equal(np.argwhere(mask)[[0, -1]], [[5, 10], [14, 19]])
    assert mask.sum() == 100


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xml", CVAT.replace("photos/odd 1", "odd 7"), "no image 'odd 7.png'"),
        ("a.xml", CVAT.replace('height="40"', 'height="41"'), "a mask of 50x41 pixels"),
        ("a.xml", CVAT.replace("1, 2, 1, 2", "1, 2, 1"), "no export that can be read"),
        ("a.xml", CVAT[:200], "no export that can be read"),
        ("a.xml", "<a/>", "XML of 'a'"),
        ("a.json", "{}", "no list of tasks"),
        ("a.json", "[1]", "no list of tasks"),
        ("a.json", '[{"data": {"text": "a"}}]', "no export that can be read"),
        ("a.zip", "no zip", "no export that can be read"),
    ],
)
def test_mistakes_in_an_export_are_one_clear_error(odd_photos, tmp_path, capsys, name, text, message):
    (tmp_path / name).write_text(text)
    words = ("import-labels", tmp_path / name, "--manifest", odd_photos, "--out", tmp_path / "back")
    assert message in error(capsys, *words)
    assert not (tmp_path / "back").exists()


def test_a_name_of_two_images_is_an_error(odd_photos, tmp_path, capsys):
    folder = tmp_path / "moved"
    shutil.copytree(odd_photos.parent, folder)
    path = folder / odd_photos.name
    path.write_text(path.read_text().replace("odd 0,", "b/odd 0,", 1).replace("odd 1,", "a/odd 0,", 1))
    (tmp_path / "a.xml").write_text(CVAT)
    words = ("import-labels", tmp_path / "a.xml", "--manifest", path, "--out", tmp_path / "back")
    assert "2 images of that name" in error(capsys, *words)


def test_label_studio_reads_and_writes_the_same_run_lengths():
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    plane = np.random.default_rng(0).random((30, 41)) < 0.5
    decoded = np.array(brush.decode_rle(pack(plane))).reshape(30, 41, 4)[..., 3] > 0
    assert np.array_equal(decoded, plane)
    code = [int(byte) for byte in brush.mask2rle(plane.astype(np.uint8) * 255)]
    assert np.array_equal(unpack(code, 30, 41, "here"), plane)
