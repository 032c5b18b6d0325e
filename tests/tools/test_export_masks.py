"""Masks in the formats of annotation tools: what a reader of each format finds is what was written."""

import io
import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO
from scipy.ndimage import binary_fill_holes
from skimage.draw import polygon2mask
from test_cli import error

from semples.cli import main
from semples.config.settings import Data, Settings
from semples.data.exporters import yolo
from semples.data.exporters.label_studio import pack, unpack
from semples.data.exporters.regions import MaskedImage, regions
from semples.data.images import read_mask, write_mask
from semples.data.manifest import Classes, read_manifest
from semples.errors import SemplesError
from semples.stages import data

NAMES = ("dog", "cat")


def drawn(height: int, width: int, number: int) -> np.ndarray:
    """A ring of class 1, a block of class 2 with a lone speck, and a void line."""
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (width // 2, height // 2), 9, 1, 4)
    mask[2 : 6 + number, 3:9] = 2
    mask[height - 2, width - 2] = 2
    mask[:, 0] = 255
    return mask


@pytest.fixture
def masks(odd_photos, tmp_path) -> Path:
    folder, images = tmp_path / "masks", read_manifest(odd_photos)
    folder.mkdir()
    for number, row in enumerate(images.table.itertuples()):
        write_mask(folder / f"{row.id}.png", drawn(row.height, row.width, number), images.classes.palette())
    return folder


@pytest.fixture
def export(masks, odd_photos, tmp_path):
    def run(kind: str, *flags: object) -> Path:
        out = tmp_path / f"out {kind}"
        words = ["export-masks", masks, "--manifest", odd_photos, "--format", kind, "--out", out, *flags]
        assert main([str(word) for word in words]) == 0
        return out

    return run


def expected(masks: Path) -> dict[str, np.ndarray]:
    return {path.stem: read_mask(path) for path in sorted(masks.glob("*.png"))}


def test_coco_holds_every_pixel_as_run_lengths(export, masks):
    coco = COCO(export("coco") / "annotations/instances.json")
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(NAMES)
    for image in coco.loadImgs(coco.getImgIds()):
        mask = np.zeros((image["height"], image["width"]), np.uint8)
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert len(annotations) == 3
        for annotation in annotations:
            pixels = coco.annToMask(annotation)
            mask[pixels == 1] = annotation["category_id"]
            assert annotation["area"] == pixels.sum()
            assert annotation["bbox"] == list(cv2.boundingRect(pixels))
        truth = expected(masks)[Path(image["file_name"]).stem]
        assert np.array_equal(mask, np.where(truth == 255, 0, truth))


def test_coco_polygons_fill_holes_and_hold_all_else(export, masks):
    coco = COCO(export("coco", "--outlines", "polygons", "--least-area", 2) / "annotations/instances.json")
    for image in coco.loadImgs(coco.getImgIds()):
        truth = expected(masks)[Path(image["file_name"]).stem]
        ring, block = sorted(coco.loadAnns(coco.getAnnIds(image["id"])), key=lambda entry: entry["category_id"])
        assert np.array_equal(coco.annToMask(ring), binary_fill_holes(truth == 1))
        assert np.array_equal(coco.annToMask(block)[:-3], (truth == 2)[:-3])


def test_yolo_lines_are_outlines_of_the_regions(export, masks):
    out = export("yolo", "--least-area", 2)
    assert yaml.safe_load((out / "data.yaml").read_text())["names"] == dict(enumerate(NAMES))
    for name, truth in expected(masks).items():
        rows = [line.split() for line in (out / "labels" / f"{name}.txt").read_text().splitlines()]
        assert [row[0] for row in rows] == ["0", "1"]
        points = np.array(rows[1][1:], float).reshape(-1, 2) * truth.shape[::-1]
        inside = [
            cv2.pointPolygonTest(points.astype(np.float32), (x + 0.5, y + 0.5), False) > 0
            for y in range(truth.shape[0] - 3)
            for x in range(truth.shape[1])
        ]
        assert np.array_equal(np.array(inside), (truth == 2)[:-3].ravel())


@pytest.mark.parametrize("seed", range(3))
def test_yolo_outlines_filled_again_are_the_objects(tmp_path, seed):
    rng, mask = np.random.default_rng(seed), np.zeros((180, 240), np.uint8)
    waves, noise = cv2.GaussianBlur(rng.random((140, 200)), (0, 0), 8), rng.random((140, 200))
    mask[20:160, 20:220] = noise < waves + 0.06  # ragged, with holes
    folder = tmp_path / "out"
    folder.mkdir()
    yolo.write(folder, [MaskedImage("a", "a.png", "train", mask)], Classes(NAMES, NAMES, ("", "")), 1001)
    rows = (folder / "labels/a.txt").read_text().splitlines()
    objects = list(regions(mask, 1001))
    assert len(rows) == len(objects) >= 1
    for row, region in zip(rows, objects):
        points = np.array(row.split()[1:], float).reshape(-1, 2) * mask.shape[::-1]
        truth, whole = np.zeros(mask.shape, bool), np.zeros(mask.shape, np.uint8)
        region.paint(truth, True)
        truth = binary_fill_holes(truth)
        cv2.fillPoly(whole, [np.floor(points).astype(np.int32)], 1)
        for filled in (
            polygon2mask(mask.shape, points[:, ::-1] - 0.5),
            whole == 1,
        ):  # by pixel centres, by whole pixels
            assert (filled & truth).sum() / (filled | truth).sum() > 0.98


def test_cvat_has_the_colours_of_its_label_map(export, masks):
    archive = zipfile.ZipFile(export("cvat") / "masks.zip")
    lines = archive.read("labelmap.txt").decode().splitlines()
    assert lines[0] == "# label:color_rgb:parts:actions"
    colours = {tuple(map(int, line.split(":")[1].split(","))): index for index, line in enumerate(lines[1:])}
    assert [line.split(":")[0] for line in lines[1:]] == ["background", *NAMES]
    assert archive.read("ImageSets/Segmentation/default.txt").decode().splitlines() == list(expected(masks))
    for name, truth in expected(masks).items():
        picture = np.array(Image.open(io.BytesIO(archive.read(f"SegmentationClass/{name}.png"))))
        indices = np.array([[colours[tuple(pixel)] for pixel in row] for row in picture.tolist()])
        assert np.array_equal(indices, np.where(truth == 255, 0, truth))
        objects = np.array(Image.open(io.BytesIO(archive.read(f"SegmentationObject/{name}.png"))))
        assert len(np.unique(objects.reshape(-1, 3), axis=0)) == 4  # background and three regions


def test_label_studio_gets_brush_masks_and_the_labels(export, masks):
    out = export("labelstudio", "--prefix", "/data/local-files/?d=photos/")
    tree = ElementTree.parse(out / "labeling.xml")
    assert [label.get("value") for label in tree.iter("Label")] == list(NAMES)
    for task in json.loads((out / "tasks.json").read_text()):
        prefix, name = task["data"]["image"].rsplit("/", 1)
        assert prefix == "/data/local-files/?d=photos"
        truth = expected(masks)[Path(name).stem]
        for result in task["predictions"][0]["result"]:
            height, width = result["original_height"], result["original_width"]
            plane = unpack(result["value"]["rle"], height, width, "here")
            assert np.array_equal(plane, truth == 1 + NAMES.index(result["value"]["brushlabels"][0]))


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (300, 260)])
def test_packed_run_lengths_are_read_back(shape):
    rng = np.random.default_rng(0)
    for plane in (np.zeros(shape, bool), np.ones(shape, bool), rng.random(shape) < 0.5):
        assert np.array_equal(unpack(pack(plane), *shape, "here"), plane)


def test_damaged_run_lengths_are_an_error():
    code = pack(np.eye(8, dtype=bool))
    for damaged in (code[:-4], [], [300], "abc"):
        with pytest.raises(SemplesError, match="export the annotations again"):
            unpack(damaged, 8, 8, "tasks.json")
    with pytest.raises(SemplesError, match="those of 9x8 pixels"):
        unpack(code, 9, 8, "tasks.json")


def test_voc_has_masks_lists_and_names_and_void_stays(export, masks):
    out = export("voc", "--least-area", 2)
    assert (out / "labels.txt").read_text().split() == ["background", *NAMES]
    assert (out / "ImageSets/Segmentation/all.txt").read_text().splitlines() == list(expected(masks))
    for name, truth in expected(masks).items():
        truth[-2, -2] = 0  # the speck
        assert np.array_equal(read_mask(out / "SegmentationClass" / f"{name}.png"), truth)


def test_a_split_named_all_lists_every_image_once(masks, odd_photos, export):
    odd_photos.write_text(odd_photos.read_text().replace("train", "all"))
    listed = (export("voc") / "ImageSets/Segmentation/all.txt").read_text().splitlines()
    assert listed == list(expected(masks))


def test_our_own_importer_reads_what_coco_export_writes(export, masks, odd_photos, tmp_path):
    root = export("coco").rename(tmp_path / "coco")
    (root / "images").mkdir()
    for row in read_manifest(odd_photos).table.itertuples():
        (root / "images" / Path(row.image).name).write_bytes(Path(row.image).read_bytes())
    data.run(Settings(data=Data(source="coco", root=str(root), train="train", val="val")), tmp_path / "data")
    for row in read_manifest(tmp_path / "data/manifest.csv").table.itertuples():
        truth = expected(masks)[row.id]
        assert np.array_equal(read_mask(row.mask), np.where(truth == 255, 0, truth))


def test_regions_touch_by_corners_and_small_ones_are_left_out():
    mask = np.array([[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 0, 2]], np.uint8)
    assert [(r.klass, r.box, r.pixels.sum()) for r in regions(mask)] == [
        (0, [0, 0, 2, 2], 2),
        (1, [3, 0, 1, 1], 1),
        (1, [3, 2, 1, 1], 1),
    ]
    assert [r.klass for r in regions(mask, 2)] == [0]


def test_a_run_with_two_folders_of_masks_is_an_error_that_names_them(miniature, tmp_path, capsys):
    run = miniature.parent.parent
    for variant in ("slm", "csr"):
        (run / f"crf/{variant}/seed0/masks").mkdir(parents=True, exist_ok=True)
    text = error(capsys, "export-masks", run, "--format", "voc", "--out", tmp_path / "out")
    assert "2 folders of masks: crf/csr/seed0/masks, crf/slm/seed0/masks" in text


def test_masks_of_other_images_or_classes_are_errors(masks, odd_photos, tmp_path, capsys):
    words = ("export-masks", masks, "--manifest", odd_photos, "--format", "coco", "--out", tmp_path / "out")
    write_mask(masks / "odd 1.png", np.full((33, 64), 7, np.uint8), read_manifest(odd_photos).classes.palette())
    assert "class index 7" in error(capsys, *words)
    write_mask(masks / "odd 1.png", np.zeros((5, 5), np.uint8), read_manifest(odd_photos).classes.palette())
    assert "5x5 pixels" in error(capsys, *words)
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    assert "no mask of an image" in error(capsys, "export-masks", tmp_path / "empty", *words[2:])


def photographs(odd_photos: Path, folder: Path) -> dict[str, tuple[int, int]]:
    """Copy the photographs into a folder; return their (height, width) by name."""
    folder.mkdir(parents=True, exist_ok=True)
    table = read_manifest(odd_photos).table
    for path in table["image"]:
        (folder / Path(path).name).write_bytes(Path(path).read_bytes())
    return {Path(row.image).name: (row.height, row.width) for row in table.itertuples()}


def test_supervision_reads_coco_and_yolo(export, masks, odd_photos, tmp_path):
    supervision = pytest.importorskip("supervision")
    sizes, coco, yolo = photographs(odd_photos, tmp_path / "images"), export("coco"), export("yolo", "--least-area", 2)
    read = supervision.DetectionDataset
    path = str(coco / "annotations/instances.json")
    exact = read.from_coco(str(tmp_path / "images"), path, force_masks=True)
    labels = {"annotations_directory_path": str(yolo / "labels"), "data_yaml_path": str(yolo / "data.yaml")}
    outlines = read.from_yolo(str(tmp_path / "images"), **labels, force_masks=True)
    for name, size in sizes.items():
        truth = expected(masks)[Path(name).stem]
        for dataset, classes, least in ((exact, (0, 1), 1.0), (outlines, (0,), 0.85)):
            detections = dataset.annotations[str(tmp_path / "images" / name)]
            for klass in classes:
                detected = np.any(detections.mask[detections.class_id == klass], axis=0)
                own = binary_fill_holes(truth == klass + 1) if dataset is outlines else truth == klass + 1
                assert detected.shape == size
                assert (detected & own).sum() / (detected | own).sum() >= least  # it rounds outlines to whole pixels


def test_datumaro_reads_the_zip_for_cvat(export, masks, odd_photos, tmp_path):
    datumaro = pytest.importorskip("datumaro")
    with zipfile.ZipFile(export("cvat") / "masks.zip") as archive:
        archive.extractall(tmp_path / "cvat")
    photographs(odd_photos, tmp_path / "cvat/JPEGImages")
    dataset = datumaro.Dataset.import_from(str(tmp_path / "cvat"), "voc_segmentation")
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    assert names == ["background", *NAMES]
    for item in dataset:
        truth = expected(masks)[item.id]
        mask = np.zeros(truth.shape, np.uint8)
        for annotation in item.annotations:
            mask[annotation.image > 0] = annotation.label
        assert np.array_equal(mask, np.where(truth == 255, 0, truth))
