"""CAMs from the guide alone: they do not depend on shards, and need no training."""

import json
from pathlib import Path

import numpy as np
import pytest

from semples.cli import main
from semples.config.load import load
from semples.data.cam_file import CamFile
from semples.planning.targets import Targets

SETTINGS = {"data": {"source": "mini"}, "masks_from": "guide", "cams": {"stride": 1, "dtype": "float32"}}


def run(command: str, *flags: object, **guide_maps: object) -> int:
    settings = {**SETTINGS, "guide_maps": guide_maps}
    return main([command, "--config", json.dumps(settings), *map(str, flags)])


@pytest.fixture(scope="module")
def guide(miniature, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("guide") / "guide"
    assert run("guide", "--classes", miniature.with_name("classes.csv"), "--out", folder) == 0
    return folder


def cams(miniature: Path, guide: Path, out: Path, *flags: object, **guide_maps: object) -> dict[str, np.ndarray]:
    words = ("--manifest", miniature, "--split", "train", "--guide", guide, *flags, "--out", out)
    assert run("cams", *words, **guide_maps) == 0
    with CamFile(out) as file:
        return {image: file.read(image).score for image in file.ids}


def test_shards_and_threads_change_nothing(miniature, guide, tmp_path):
    options = {"scales": [0.5, 1.0], "affinity_blocks": 2}
    whole = cams(miniature, guide, tmp_path / "whole.h5", **options)
    for shard in ("1-of-2", "2-of-2"):
        part = cams(miniature, guide, tmp_path / f"{shard}.h5", "--shard", shard, **options)
        assert part
        assert all(np.allclose(whole[image], score, atol=1e-5) for image, score in part.items())


def test_the_name_of_a_class_is_no_background_word(miniature, guide, tmp_path):
    plain, named = (
        cams(miniature, guide, tmp_path / f"{len(words)}.h5", background=words)
        for words in (["grass"], ["grass", "boat"])
    )
    assert all(np.array_equal(plain[image], named[image]) for image in plain)


def test_a_guide_row_needs_no_training_before_the_segmentation():
    config = {"preset": "mini", "experiments": {"classifier": None, "slm": None, "guide": {"masks_from": "guide"}}}
    jobs = Targets(load(config)).jobs(["all"])
    stages = {stage for stage, of_stage in jobs.items() if any(job.variant == "guide" for job in of_stage)}
    assert stages & {"classify", "slm", "cpl", "csr", "joint"} == set()
    assert stages >= {"cams", "crf", "segment"}


def test_without_a_guide_the_error_names_the_flag(miniature, tmp_path, capsys):
    words = ("--manifest", miniature, "--split", "train", "--out", tmp_path / "cams.h5")
    assert run("cams", *words) == 1
    assert "--guide\n  found:    nothing" in capsys.readouterr().err
