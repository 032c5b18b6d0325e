"""Maps of a method fused with the guide's own maps: the formula, classes in another order, shards, and mistakes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from semples.cli import main
from semples.data.cam_file import CamFile, CamWriter
from semples.data.images import write_mask
from semples.data.manifest import read_manifest
from semples.inference.fusion import fuse


@pytest.fixture(scope="module")
def scores(miniature) -> dict[str, np.ndarray]:
    """A map in [0.1, 1) for every label of every training image, (labels, 16, 16)."""
    images, rng = read_manifest(miniature).split("train"), np.random.default_rng(0)
    counts = zip(images.table["id"], images.label_matrix().sum(axis=1), strict=True)
    return {image: rng.uniform(0.1, 1, (int(count), 16, 16)).astype("f4") for image, count in counts}


@pytest.fixture(scope="module")
def files(miniature, scores, tmp_path_factory) -> Path:
    """A folder with the scores as arrays, and a file guide.h5 of them upside down, classes in the opposite order."""
    folder, images = tmp_path_factory.mktemp("fusion"), read_manifest(miniature).split("train")
    (folder / "npy").mkdir()
    with CamWriter(folder / "guide.h5", images.classes.names, list(scores), "float32", {"a": "b"}) as writer:
        for (image, score), labels in zip(scores.items(), images.label_matrix(), strict=True):
            np.save(folder / "npy" / f"{image}.npy", score)
            writer.add(image, score[::-1, ::-1], np.flatnonzero(labels)[::-1], 64, 64)
    return folder


def run(miniature: Path, maps: Path, out: Path, *flags: object, fuse: str = "product", weight: float = 0.25) -> int:
    cams = {"fuse": fuse, "fuse_weight": weight, "dtype": "float32"}
    settings = {"masks_from": "foreign", "foreign": {"path": str(maps)}, "cams": cams}
    words = ("--manifest", miniature, "--split", "train", "--foreign", maps, *flags, "--out", out)
    return main(["cams", "--config", json.dumps(settings), *map(str, words)])


def unit(plane: np.ndarray) -> np.ndarray:
    return (plane - plane.min()) / (plane.max() - plane.min())


@pytest.mark.parametrize("how", ["product", "mean"])
def test_every_map_is_fused_with_the_guides_map_of_its_class(miniature, files, scores, tmp_path, how):
    out = tmp_path / "cams.h5"
    assert run(miniature, files / "npy", out, "--maps", files / "guide.h5", fuse=how) == 0
    assert max(map(len, scores.values())) > 1
    with CamFile(out) as file:
        for image, own in scores.items():
            for cam, plane in zip(file.read(image).score, own, strict=True):
                own_unit, guide = unit(plane), unit(plane[::-1])  # the same class of the guide, upside down
                expected = own_unit**0.75 * guide**0.25 if how == "product" else 0.75 * own_unit + 0.25 * guide
                assert np.allclose(cam, unit(expected), atol=1e-5)


def test_shards_are_fused_alike(miniature, files, tmp_path):
    flags = ("--maps", files / "guide.h5")
    assert run(miniature, files / "npy", tmp_path / "whole.h5", *flags) == 0
    assert run(miniature, files / "npy", tmp_path / "part.h5", *flags, "--shard", "2-of-3") == 0
    with CamFile(tmp_path / "whole.h5") as whole, CamFile(tmp_path / "part.h5") as part:
        assert 0 < len(part.ids) < len(whole.ids)
        assert all(np.array_equal(whole.read(image).score, part.read(image).score) for image in part.ids)


@pytest.mark.parametrize("how", ["product", "mean"])
def test_a_weight_of_nothing_or_all_leaves_one_map(how):
    one, other = np.random.default_rng(0).random((2, 3, 8, 8)).astype("f4")
    assert np.allclose(fuse(one, other, how, 0), [unit(plane) for plane in one], atol=1e-5)
    assert np.allclose(fuse(one, other, how, 1), [unit(plane) for plane in other], atol=1e-5)


def test_a_flat_map_is_finite():
    flat, other = np.full((1, 4, 4), 0.3, "f4"), np.random.default_rng(0).random((1, 4, 4)).astype("f4")
    assert not fuse(flat, other, "product", 0.5).any()
    assert np.allclose(fuse(flat, other, "mean", 0.5)[0], unit(other[0]), atol=1e-5)


def test_the_guides_maps_may_have_another_size(miniature, files, scores, tmp_path):
    images = read_manifest(miniature).split("train")
    with CamWriter(tmp_path / "half.h5", images.classes.names, list(scores), "float32", {"a": "b"}) as writer:
        for image, labels in zip(scores, images.label_matrix(), strict=True):
            left = np.zeros((int(labels.sum()), 32, 32), "f4")
            left[:, :, :16] = 1
            writer.add(image, left, np.flatnonzero(labels), 64, 64)
    assert run(miniature, files / "npy", tmp_path / "cams.h5", "--maps", tmp_path / "half.h5") == 0
    with CamFile(tmp_path / "cams.h5") as file:
        cams = np.concatenate([file.read(image).score for image in scores])
    assert cams.shape[1:] == (16, 16)
    assert not cams[:, :, 8:].any()
    assert cams[:, :, :8].max(axis=(1, 2)).min() > 0.99


def test_without_the_guides_maps_the_error_names_the_flag(miniature, files, tmp_path, capsys):
    assert run(miniature, files / "npy", tmp_path / "cams.h5") == 1
    assert "--maps\n  found:    nothing\n  expected: what `cams.fuse: product` needs" in capsys.readouterr().err
    assert not (tmp_path / "cams.h5").exists()


def test_masks_of_other_classes_than_the_labels_are_one_clear_error(miniature, files, scores, tmp_path, capsys):
    images = read_manifest(miniature).split("train")
    (tmp_path / "masks").mkdir()
    for image, labels in zip(scores, images.label_matrix(), strict=True):
        other = np.flatnonzero(labels == 0)[0] + 1
        mask = cv2.resize(np.eye(2, dtype=np.uint8) * int(other), (64, 64), interpolation=cv2.INTER_NEAREST)
        write_mask(tmp_path / "masks" / f"{image}.png", mask, images.classes.palette())
    assert run(miniature, tmp_path / "masks", tmp_path / "cams.h5", "--maps", files / "guide.h5") == 1
    error = capsys.readouterr().err
    assert "guide.h5, image" in error
    assert "set `cams.fuse: none`" in error
    assert not (tmp_path / "cams.h5").exists()
