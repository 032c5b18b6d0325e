"""Maps and masks of another method become CAMs: every form of them, what is scaled, and mistakes."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from semples.cli import main
from semples.config.load import load
from semples.data.cam_file import CamFile, CamWriter
from semples.data.images import read_mask, write_mask
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.planning.targets import Targets


def run(command: str, path: Path, *flags: object, **crf: object) -> int:
    settings = {"masks_from": "foreign", "foreign": {"path": str(path)}, "cams": {"dtype": "float32"}, "crf": crf}
    return main([command, "--config", json.dumps(settings), *map(str, flags)])


@pytest.fixture
def images(odd_photos) -> Manifest:
    return read_manifest(odd_photos)


@pytest.fixture
def scores(images) -> dict[str, np.ndarray]:
    """A map in [0, 1] for every label of every image, of half its size, in multiples of 1 / 255."""
    rng = np.random.default_rng(0)
    return {
        row.id: (rng.integers(0, 256, (len(row.labels.split(";")), row.height // 2, row.width // 2)) / 255).astype("f4")
        for row in images.table.itertuples()
    }


def become_cams(path: Path, odd_photos: Path, out: Path) -> dict[str, np.ndarray]:
    flags = ("--manifest", odd_photos, "--split", "train", "--foreign", path, "--out", out)
    assert run("cams", path, *flags) == 0
    with CamFile(out) as file:
        return {image: file.read(image).score for image in file.ids}


def test_arrays_in_range_stay_as_they_are(scores, odd_photos, tmp_path):
    (tmp_path / "npy").mkdir()
    for image, score in scores.items():
        np.save(tmp_path / "npy" / f"{image}.npy", score)
    cams = become_cams(tmp_path / "npy", odd_photos, tmp_path / "cams.h5")
    assert all(np.array_equal(cams[image], scores[image]) for image in scores)


def test_other_values_are_scaled_map_by_map(scores, odd_photos, tmp_path, capsys):
    (tmp_path / "npy").mkdir()
    for image, score in scores.items():
        np.save(tmp_path / "npy" / f"{image}.npy", 3 * score - 1)
    cams = become_cams(tmp_path / "npy", odd_photos, tmp_path / "cams.h5")
    assert "are scaled to [0, 1]" in capsys.readouterr().out
    for image, score in scores.items():
        low, high = score.min((1, 2), keepdims=True), score.max((1, 2), keepdims=True)
        assert np.allclose(cams[image], (score - low) / (high - low), atol=1e-6)


def test_our_own_file_comes_back_with_equal_digits(scores, images, odd_photos, tmp_path):
    with CamWriter(tmp_path / "own.h5", images.classes.names, list(scores), "float32", {"a": "b"}) as writer:
        for row, labels in zip(images.table.itertuples(), images.label_matrix(), strict=True):
            writer.add(row.id, scores[row.id], np.flatnonzero(labels), row.height, row.width)
    cams = become_cams(tmp_path / "own.h5", odd_photos, tmp_path / "cams.h5")
    assert all(np.array_equal(cams[image], scores[image]) for image in scores)


def test_a_plain_hdf5_file_has_a_dataset_for_every_image(scores, odd_photos, tmp_path):
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        for image, score in scores.items():
            file[image] = score
    cams = become_cams(tmp_path / "plain.h5", odd_photos, tmp_path / "cams.h5")
    assert all(np.array_equal(cams[image], scores[image]) for image in scores)


def test_a_group_in_place_of_a_dataset_is_one_clear_error(scores, odd_photos, tmp_path, capsys):
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        for image in scores:
            file.create_group(image)
    flags = (
        "--manifest",
        odd_photos,
        "--split",
        "train",
        "--foreign",
        tmp_path / "plain.h5",
        "--out",
        tmp_path / "c.h5",
    )
    assert run("cams", tmp_path / "plain.h5", *flags) == 1
    assert "write a dataset /<id> for every image" in capsys.readouterr().err


@pytest.mark.parametrize("white", [255, 65535])
def test_grey_pictures_of_a_class_are_maps(white, scores, images, odd_photos, tmp_path):
    for row in images.table.itertuples():
        (tmp_path / "png" / row.id).mkdir(parents=True)
        for name, score in zip(sorted(row.labels.split(";"), key=images.classes.names.index), scores[row.id]):
            pixels = np.rint(score * white).astype(np.uint8 if white == 255 else np.uint16)
            Image.fromarray(pixels).save(tmp_path / "png" / row.id / f"{name}.png")
    cams = become_cams(tmp_path / "png", odd_photos, tmp_path / "cams.h5")
    assert all(np.allclose(cams[image], scores[image], atol=1e-6) for image in scores)


def test_finished_masks_come_out_of_crf_none_as_they_went_in(images, odd_photos, tmp_path):
    (tmp_path / "masks").mkdir()
    masks = {}
    for row in images.table.itertuples():
        masks[row.id] = np.random.default_rng(1).choice([0, 1, 2], (row.height, row.width)).astype(np.uint8)
        masks[row.id][:3] = 255
        write_mask(tmp_path / "masks" / f"{row.id}.png", masks[row.id], images.classes.palette())
    become_cams(tmp_path / "masks", odd_photos, tmp_path / "cams.h5")
    flags = ("--manifest", odd_photos, "--cams", tmp_path / "cams.h5", "--out", tmp_path / "out")
    assert run("crf", tmp_path / "masks", *flags, preset="none") == 0
    for image, mask in masks.items():
        assert np.array_equal(read_mask(tmp_path / "out" / f"{image}.png"), np.where(mask == 255, 0, mask))


def test_shards_are_scaled_alike(scores, odd_photos, tmp_path):
    (tmp_path / "npy").mkdir()
    for number, (image, score) in enumerate(scores.items()):
        np.save(tmp_path / "npy" / f"{image}.npy", score + (number == 2))  # one image is out of range
    whole = become_cams(tmp_path / "npy", odd_photos, tmp_path / "cams.h5")
    for shard in ("1-of-2", "2-of-2"):
        flags = ("--manifest", odd_photos, "--split", "train", "--foreign", tmp_path / "npy", "--shard", shard)
        assert run("cams", tmp_path / "npy", *flags, "--out", tmp_path / f"{shard}.h5") == 0
        with CamFile(tmp_path / f"{shard}.h5") as file:
            assert all(np.array_equal(file.read(image).score, whole[image]) for image in file.ids)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "odd 1.npy").unlink(), "odd 1.npy\n  found:    no such file"),
        (lambda folder: np.save(folder / "odd 1.npy", np.zeros((7, 4, 8))), "an array of shape (7, 4, 8)"),
        (lambda folder: np.save(folder / "odd 1.npy", np.full((1, 16, 32), np.nan)), "a value that is not finite"),
        (lambda folder: np.save(folder / "odd 1.npy", np.zeros((1, 32, 16))), "maps of 16x32"),
    ],
)
def test_mistakes_in_arrays_are_one_clear_error(scores, odd_photos, tmp_path, capsys, spoil, message):
    folder = tmp_path / "npy"
    folder.mkdir()
    for image, score in scores.items():
        np.save(folder / f"{image}.npy", score)
    spoil(folder)
    flags = ("--manifest", odd_photos, "--split", "train", "--foreign", folder, "--out", tmp_path / "cams.h5")
    assert run("cams", folder, *flags) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "cams.h5").exists()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((33, 64), 9, np.uint8), "class index 9 of 2 classes"),
        (np.zeros((5, 5), np.uint8), "5x5 pixels\n  expected: 64x33, the size of its image"),
    ],
)
def test_masks_that_do_not_fit_are_an_error(images, odd_photos, tmp_path, capsys, mask, message):
    (tmp_path / "masks").mkdir()
    for row in images.table.itertuples():
        own = mask if row.id == "odd 1" else np.zeros((row.height, row.width), np.uint8)
        write_mask(tmp_path / "masks" / f"{row.id}.png", own, images.classes.palette())
    flags = ("--manifest", odd_photos, "--split", "train", "--foreign", tmp_path / "masks", "--out", tmp_path / "c.h5")
    assert run("cams", tmp_path / "masks", *flags) == 1
    assert message in capsys.readouterr().err


def test_a_foreign_row_needs_no_training_before_the_segmentation(tmp_path):
    row = {"masks_from": "foreign", "foreign": {"path": str(tmp_path)}}
    targets = Targets(load({"preset": "mini", "experiments": {"classifier": None, "slm": None, "foreign": row}}))
    targets.require_inputs()
    stages = {stage for stage, jobs in targets.jobs(["all"]).items() if any(job.variant == "foreign" for job in jobs)}
    assert stages & {"guide", "classify", "slm", "cpl", "csr", "joint"} == set()
    assert stages >= {"cams", "crf", "segment", "segment_masks"}


def test_foreign_maps_without_a_path_are_refused():
    with pytest.raises(SemplesError, match=r"the maps of another method in `foreign\.path`"):
        load({"preset": "mini", "experiments": {"foreign": {"masks_from": "foreign"}}})
