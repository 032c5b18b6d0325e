"""The HDF5 file: round trip, equal bytes, and clear errors."""

import h5py
import numpy as np
import pytest

from semples.errors import SemplesError
from semples.store import CamFile, CamWriter

MADE_FROM = {"command": "semples cams", "packages": "semples 0.1.0"}


def write(path, dtype="float16"):
    rng = np.random.default_rng(0)
    scores = {"b/2": rng.random((2, 6, 8)), "ü 1%": rng.random((1, 5, 3)), "a": rng.random((1, 1, 1))}
    with CamWriter(path, ("cat", "dog", "ox"), list(scores), dtype, MADE_FROM) as writer:
        for image, score in scores.items():
            writer.add(image, score, np.arange(len(score)), 24, 32)
    return scores


@pytest.mark.parametrize(("dtype", "error"), [("float16", 5e-4), ("float32", 1e-7)])
def test_round_trip(tmp_path, dtype, error):
    scores = write(tmp_path / "cams.h5", dtype)
    with CamFile(tmp_path / "cams.h5") as file:
        assert file.ids == list(scores)
        assert file.class_names == ("cat", "dog", "ox")
        assert file.provenance == MADE_FROM
        for image, score in scores.items():
            found = file.read(image)
            assert np.abs(found.score - score).max() <= error
            assert found.classes.tolist() == list(range(len(score)))
            assert found.full_size().shape == (len(score), 24, 32)


def test_equal_inputs_give_equal_bytes(tmp_path):
    write(tmp_path / "one.h5")
    write(tmp_path / "two.h5")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_viewers_find_the_first_map(tmp_path):
    """The NeXus chain: root -> default -> NXdata -> signal."""
    write(tmp_path / "cams.h5")
    with h5py.File(tmp_path / "cams.h5") as file:
        images = file[file.attrs["default"]]
        first = images[images.attrs["default"]]
        assert first.attrs["NX_class"] == "NXdata"
        assert first[first.attrs["signal"]].shape == (2, 6, 8)


def test_missing_id(tmp_path):
    write(tmp_path / "cams.h5")
    with CamFile(tmp_path / "cams.h5") as file, pytest.raises(SemplesError, match="no image 'z'"):
        file.read("z")


def test_wrong_version(tmp_path):
    write(tmp_path / "cams.h5")
    with h5py.File(tmp_path / "cams.h5", "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(SemplesError, match="version 2"):
        CamFile(tmp_path / "cams.h5")


def test_truncated_and_flipped_files(tmp_path):
    write(tmp_path / "cams.h5", "float32")
    whole = (tmp_path / "cams.h5").read_bytes()
    (tmp_path / "short.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SemplesError, match="unreadable"):
        CamFile(tmp_path / "short.h5")
    with h5py.File(tmp_path / "cams.h5") as file:
        place = file["images/b%2F2/score"].id.get_chunk_info(0).byte_offset
    flipped = bytearray(whole)
    flipped[place + 20] ^= 0xFF
    (tmp_path / "flipped.h5").write_bytes(flipped)
    with CamFile(tmp_path / "flipped.h5") as file, pytest.raises(SemplesError, match="unreadable"):
        file.read("b/2")


def test_class_mismatch(tmp_path):
    write(tmp_path / "cams.h5")
    with CamFile(tmp_path / "cams.h5") as file, pytest.raises(SemplesError, match="classes"):
        file.expect_classes(("cat", "dog"))
