"""cams and crf: equal to one image at a time, to any number of threads and processes, and to their shards."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semples.cli import main
from semples.config.settings import Settings
from semples.data.cam_file import CamFile, CamWriter
from semples.data.images import read_image, read_mask
from semples.data.manifest import read_manifest
from semples.errors import SemplesError
from semples.evaluation.thresholds import label_free_threshold
from semples.inference.cams import MIN_MAX_EPS
from semples.inference.views import average_views
from semples.models.generators import build_generator
from semples.runtime.parallel import map_threads, shard_slice
from semples.weights.generators import load_module, save_module

SETTINGS = {
    "run": {"device": "cpu", "threads": 1},
    "precision": "32-true",
    "masks_from": "classify",
    "generator": {"name": "vit_cam", "backbone": "deit_tiny_patch16_224", "weights": "none"},
    "cams": {"scales": [1.0, 1.5], "stride": 2, "dtype": "float32"},
    "crf": {"preset": "mini", "iterations": 3},
}


def run(command: str, *flags: object, **changed: dict) -> int:
    settings = SETTINGS | {name: SETTINGS.get(name, {}) | section for name, section in changed.items()}
    return main([command, "--config", json.dumps(settings), *map(str, flags)])


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_module(build_generator("vit_cam", 2, "deit_tiny_patch16_224"), path, {})
    return path


@pytest.fixture
def cams(odd_photos, model, tmp_path) -> Path:
    """CAMs of three images of three sizes."""
    flags = ("--manifest", odd_photos, "--split", "train", "--generator", model)
    assert run("cams", *flags, "--out", tmp_path / "cams.h5") == 0
    return tmp_path / "cams.h5"


@torch.no_grad()
def test_cams_equal_those_of_one_image_at_a_time(cams, odd_photos, model):
    generator, images = build_generator("vit_cam", 2, "deit_tiny_patch16_224").eval(), read_manifest(odd_photos)
    load_module(generator, model, "classify")
    with CamFile(cams) as file:
        for row, labels in zip(images.table.itertuples(), images.label_matrix(), strict=True):
            photo = torch.from_numpy(read_image(row.image)).permute(2, 0, 1)[None].float() / 255
            size = (-(-row.height // 2), -(-row.width // 2))
            maps = average_views(lambda x: generator(x).cams, photo, [1.0, 1.5], True, size)[0, np.flatnonzero(labels)]
            low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
            expected = ((maps - low) / (high - low + MIN_MAX_EPS)).numpy()
            assert np.abs(file.read(row.id).score - expected).max() < 1e-4


def test_cams_are_the_same_for_any_number_of_threads(cams, odd_photos, model, tmp_path):
    flags = ("--manifest", odd_photos, "--split", "train", "--generator", model, "--threads", 3)
    assert run("cams", *flags, "--out", tmp_path / "again.h5") == 0
    assert (tmp_path / "again.h5").read_bytes() == cams.read_bytes()


def test_shards_of_cams_and_crf_make_what_one_job_makes(cams, odd_photos, model, tmp_path):
    flags = ("--manifest", odd_photos, "--split", "train", "--generator", model)
    for shard in ("1-of-2", "2-of-2"):
        assert run("cams", *flags, "--shard", shard, "--out", tmp_path / f"shards/{shard}.h5") == 0
    shards = [tmp_path / "shards/1-of-2.h5", tmp_path / "shards/2-of-2.h5"]
    assert main(["join", "--shards", *map(str, shards), "--out", str(tmp_path / "index.h5")]) == 0
    with CamFile(cams) as whole, CamFile(tmp_path / "index.h5") as index:
        assert whole.ids == index.ids
        assert all(np.array_equal(whole.read(image).score, index.read(image).score) for image in whole.ids)

    flags = ("--manifest", odd_photos, "--cams", tmp_path / "index.h5", "--threads", 2)
    assert run("crf", *flags, "--out", tmp_path / "masks") == 0
    for shard in ("1-of-2", "2-of-2"):
        assert run("crf", *flags, "--shard", shard, "--out", tmp_path / f"parts/{shard}") == 0
    folders = [str(tmp_path / "parts/1-of-2"), str(tmp_path / "parts/2-of-2")]
    assert main(["join", "--shards", *folders, "--out", str(tmp_path / "joined")]) == 0
    expected = {path.name: path.read_bytes() for path in (tmp_path / "masks").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "joined").iterdir()} == expected


def test_what_a_killed_job_left_is_removed(cams, odd_photos, tmp_path):
    left = tmp_path / ".masks.partial-1"
    left.mkdir()
    (left / "half.png").write_bytes(b"half")
    assert run("crf", "--manifest", odd_photos, "--cams", cams, "--out", tmp_path / "masks") == 0
    assert not left.exists()


def test_more_shards_than_images_is_an_error(capsys, odd_photos, model, tmp_path):
    flags = ("--manifest", odd_photos, "--split", "train", "--generator", model, "--shard", "1-of-4")
    assert run("cams", *flags, "--out", tmp_path / "no.h5") == 1
    assert "4 shards of 3 images" in capsys.readouterr().err
    assert not (tmp_path / "no.h5").exists()


def test_shards_cover_every_image_once():
    for count, shards in ((3, 1), (10, 3), (7, 7)):
        places = [place for n in range(1, shards + 1) for place in range(count)[shard_slice(f"{n}-of-{shards}", count)]]
        assert places == list(range(count))


def test_margin_and_confidence(cams, odd_photos, tmp_path):
    flags = ("--manifest", odd_photos, "--cams", cams)
    assert run("crf", *flags, "--out", tmp_path / "all") == 0
    assert run("crf", *flags, "--out", tmp_path / "sure", crf={"margin": 0.9, "confidence": True}) == 0
    assert run("crf", *flags, "--out", tmp_path / "margin alone", crf={"margin": 0.9}) == 0
    ignored = 0
    for row in read_manifest(odd_photos).table.itertuples():
        plain, sure = read_mask(tmp_path / f"all/{row.id}.png"), read_mask(tmp_path / f"sure/{row.id}.png")
        lead = np.asarray(Image.open(tmp_path / f"sure/confidence/{row.id}.png"))
        assert lead[sure == 255].max(initial=0) <= round(0.9 * 255) <= lead[sure != 255].min(initial=255) + 1
        assert np.array_equal(sure[sure != 255], plain[sure != 255])
        assert np.array_equal(sure, read_mask(tmp_path / f"margin alone/{row.id}.png"))
        ignored += (sure == 255).sum()
    assert ignored


def test_label_free_threshold_parts_two_heaps_and_needs_no_mask(capsys, odd_photos, tmp_path):
    table = read_manifest(odd_photos).table
    heaps = np.random.default_rng(0).normal([[0.1], [0.7]], 0.05, (2, 500)).clip(0, 1).reshape(1, 20, 50)
    with CamWriter(tmp_path / "heaps.h5", ("dog", "cat"), list(table["id"]), "float32", {"packages": "none"}) as writer:
        for number, row in enumerate(table.itertuples()):
            writer.add(row.id, heaps, np.array([number % 2]), row.height, row.width)
    assert 0.25 < label_free_threshold(Settings(), tmp_path / "heaps.h5") < 0.55
    policy = {"preset": "none", "threshold": {"policy": "label-free"}}
    flags = ("--manifest", odd_photos, "--cams", tmp_path / "heaps.h5", "--evaluation")
    assert run("crf", *flags, "--out", tmp_path / "masks", crf=policy) == 0
    shares = [(read_mask(path) > 0).mean() for path in (tmp_path / "masks").glob("*.png")]
    assert np.allclose(shares, 0.5, atol=0.05)
    policy["threshold"]["policy"] = "held-out"
    assert run("crf", *flags, "--out", tmp_path / "no", crf=policy) == 1
    assert "'held-out', and no ground-truth mask" in capsys.readouterr().err


def test_an_error_in_a_thread_is_the_callers():
    def work(number: int) -> int:
        if number == 3:
            raise SemplesError("three", "it", "another", "try")
        return number

    assert list(map_threads(work, range(3), 2)) == [0, 1, 2]
    with pytest.raises(SemplesError, match="three"):
        list(map_threads(work, range(9), 2))
