"""The HDF5 file: round trip, equal bytes, and clear errors."""

import h5py
import numpy as np
import pytest

from semples.data.cam_file import CamFile, CamWriter, join_shards
from semples.errors import SemplesError

MADE_FROM = {"command": "semples cams", "packages": "semples 0.1.0"}


def write(path, dtype="float16"):
    rng = np.random.default_rng(0)
    scores = {"b/2": rng.random((2, 6, 8)), "ü 1%": rng.random((1, 5, 3)), "a": rng.random((1, 1, 1))}
    with CamWriter(path, ("cat", "dog", "ox"), list(scores), dtype, MADE_FROM) as writer:
        for image, score in scores.items():
            writer.add(image, score, np.arange(len(score)), 24, 32)
    return scores


@pytest.mark.parametrize(("dtype", "error"), [("uint8", 0.5001 / 255), ("float16", 5e-4), ("float32", 1e-7)])
def test_round_trip(tmp_path, dtype, error):
    scores = write(tmp_path / "cams.h5", dtype)
    with CamFile(tmp_path / "cams.h5") as file:
        assert file.ids == list(scores)
        assert file.class_names == ("cat", "dog", "ox")
        assert file.provenance == MADE_FROM
        for image, score in scores.items():
            maps = file.read(image)
            assert np.abs(maps.score - score).max() <= error
            assert maps.classes.tolist() == list(range(len(score)))
            assert maps.full_size().shape == (len(score), 24, 32)


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
        assert first.attrs["NX_class"] == b"NXdata"
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
        offset = file["images/b%2F2/score"].id.get_chunk_info(0).byte_offset
    flipped = bytearray(whole)
    flipped[offset + 20] ^= 0xFF
    (tmp_path / "flipped.h5").write_bytes(flipped)
    with CamFile(tmp_path / "flipped.h5") as file, pytest.raises(SemplesError, match="unreadable"):
        file.read("b/2")


def test_class_mismatch(tmp_path):
    write(tmp_path / "cams.h5")
    with CamFile(tmp_path / "cams.h5") as file, pytest.raises(SemplesError, match="classes"):
        file.require_classes(("cat", "dog"))


def contents(path):
    """All that a reader gets."""
    with CamFile(path) as file:
        maps = [file.read(image) for image in file.ids]
        return repr(
            (file.ids, file.class_names, file.provenance, [(m.score.tobytes(), m.classes, m.height) for m in maps])
        )


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_a_flipped_byte_anywhere_is_an_error_or_changes_nothing(tmp_path, dtype):
    write(tmp_path / "cams.h5", dtype)
    whole, expected = (tmp_path / "cams.h5").read_bytes(), contents(tmp_path / "cams.h5")
    errors = 0
    for offset in range(0, len(whole), 5):
        (tmp_path / "flipped.h5").write_bytes(whole[:offset] + bytes([whole[offset] ^ 0xFF]) + whole[offset + 1 :])
        try:
            assert contents(tmp_path / "flipped.h5") == expected, offset
        except SemplesError:
            errors += 1
    assert errors > 100


def test_every_truncation_is_an_error(tmp_path):
    write(tmp_path / "cams.h5")
    whole = (tmp_path / "cams.h5").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "short.h5").write_bytes(whole[:length])
        with pytest.raises(SemplesError, match=r"short.h5\n  found:    unreadable"):
            contents(tmp_path / "short.h5")


def write_shards(folder, **made_from):
    """Two shards of one run, and all their scores by id."""
    (folder / "shards").mkdir()
    scores = {"b/2": np.full((2, 6, 8), 0.5), "a": np.full((1, 3, 3), 0.25), "ü 1%": np.ones((1, 4, 4))}
    for number, ids in enumerate((["b/2", "a"], ["ü 1%"])):
        with CamWriter(folder / f"shards/{number}.h5", ("cat", "dog"), ids, "float16", MADE_FROM | made_from) as writer:
            for image in ids:
                writer.add(image, scores[image], np.arange(len(scores[image])), 24, 32)
    return [folder / "shards/0.h5", folder / "shards/1.h5"], scores


def test_shards_read_as_one(tmp_path):
    paths, scores = write_shards(tmp_path)
    join_shards(paths, tmp_path / "cams.h5")
    tmp_path = tmp_path.rename(tmp_path.with_name("moved"))
    with CamFile(tmp_path / "cams.h5") as file:
        assert file.ids == list(scores)
        assert file.provenance == MADE_FROM
        assert all(np.array_equal(file.read(image).score, score) for image, score in scores.items())
        with pytest.raises(SemplesError, match="no image 'z'"):
            file.read("z")
    with h5py.File(tmp_path / "cams.h5") as file:
        assert file["images/a/score"].shape == (1, 3, 3)


def test_a_missing_shard_and_a_shard_of_another_run(tmp_path):
    paths, _ = write_shards(tmp_path)
    join_shards(paths, tmp_path / "cams.h5")
    with CamWriter(paths[1], ("cat", "dog"), ["ü 1%"], "float16", MADE_FROM | {"weights": "other"}) as writer:
        writer.add("ü 1%", np.ones((1, 4, 4)), np.arange(1), 4, 4)
    with pytest.raises(SemplesError, match=r"1.h5\n  found:    a shard of another run"):
        CamFile(tmp_path / "cams.h5")
    paths[1].unlink()
    with pytest.raises(SemplesError, match=r"1.h5\n  found:    no such file"):
        CamFile(tmp_path / "cams.h5")
