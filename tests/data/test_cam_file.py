"""The HDF5 file: round trip, equal bytes, and clear errors."""

import hashlib
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from semples.data.cam_file import CamFile, CamWriter, ImageCams, join_shards
from semples.data.foreign_maps import CamFolder, cams_digest, open_cams
from semples.data.manifest import Classes, Manifest, read_manifest
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


def test_the_layout_of_a_file_is_that_of_docs_hdf5(tmp_path):
    write(tmp_path / "cams.h5", "uint8")
    with h5py.File(tmp_path / "cams.h5") as file:
        assert dict(file.attrs) == {
            "NX_class": b"NXroot",
            "format": b"semples.cams",
            "default": b"images",
            "format_version": 1,
        }
        assert set(file) == {"classes", "ids", "images", "provenance"}
        assert dict(file["images"].attrs) == {"NX_class": b"NXcollection", "default": b"b%2F2"}
        assert list(file["ids"].asstr()) == ["b/2", "ü 1%", "a"]
        assert {name: value.decode() for name, value in file["provenance"].attrs.items()} == MADE_FROM
        group = file["images/ü 1%25"]
        assert (group.attrs["height"], group.attrs["width"]) == (24, 32)
        assert group.attrs["classes"].dtype == np.int64
        assert group.attrs["axes"].tolist() == [b".", b".", b"."]
        score = group["score"]
        assert (score.dtype, score.shape, score.chunks) == (np.uint8, (1, 5, 3), (1, 5, 3))
        assert (score.compression, score.shuffle, score.fletcher32) == ("gzip", True, True)
        assert score.attrs["scale_factor"] == 1 / 255
        assert file["ids"].fletcher32
        assert file["ids"].chunks == (3,)
        assert h5py.check_string_dtype(file["ids"].dtype) == ("utf-8", 5)
        assert file.id.get_create_plist().get_link_creation_order() == 0
    write(tmp_path / "half.h5", "float16")
    with h5py.File(tmp_path / "half.h5") as file:
        assert file["images/a/score"].dtype == np.float16
        assert not file["images/a/score"].attrs


def test_uint8_scores_are_the_nearest_of_256_and_come_back_as_float32(tmp_path):
    with CamWriter(tmp_path / "cams.h5", ("cat",), ["a"], "uint8", MADE_FROM) as writer:
        writer.add("a", np.array([[[0, 0.4 / 255, 0.6 / 255, 1]]], np.float32), np.array([0]), 1, 4)
    with CamFile(tmp_path / "cams.h5") as file:
        maps = file.read("a")
    assert maps.score.dtype == np.float32
    assert maps.score.tolist() == [[[0, 0, np.float32(1 / 255), 1]]]
    assert (maps.height, maps.width, type(maps.height), type(maps.width)) == (1, 4, int, int)
    assert maps.classes.dtype == np.int64


def test_full_size_is_bilinear():
    maps = ImageCams(np.array([[[0.0, 1.0]], [[1.0, 1.0]]], np.float32), np.array([0, 1]), 2, 4)
    assert maps.full_size().tolist() == [[[0, 0.25, 0.75, 1]] * 2, [[1, 1, 1, 1]] * 2]


def test_large_datasets_are_one_chunk_without_times(tmp_path):
    ids = [f"image {number}" for number in range(5000)]
    with CamWriter(tmp_path / "cams.h5", ("cat",), ids, "float32", MADE_FROM) as writer:
        writer.add(ids[0], np.random.default_rng(0).random((2, 300, 400)), np.arange(2), 300, 400)
    assert not writer.file
    with h5py.File(tmp_path / "cams.h5") as file:
        assert file["ids"].chunks == (5000,)
        assert file["images/image 0/score"].chunks == (2, 300, 400)
        for name in ("ids", "images/image 0/score"):
            assert not file[name].id.get_create_plist().get_obj_track_times()
        assert list(file.attrs) == ["NX_class", "default", "format", "format_version"]  # by name, as h5py lists


def test_a_file_and_its_shards_are_closed(tmp_path):
    paths, _ = write_shards(tmp_path)
    join_shards(paths, tmp_path / "cams.h5")
    with CamFile(tmp_path / "cams.h5") as file:
        assert [shard.path for shard in file.shards] == paths
    assert not file.file
    assert not any(shard.file for shard in file.shards)


def _sums(path):
    with CamFile(path) as file:
        return [float(file.read(image).score.sum()) for image in file.ids]


def test_eight_processes_read_a_file_that_nobody_may_write(tmp_path):
    write(tmp_path / "cams.h5")
    (tmp_path / "cams.h5").chmod(0o444)
    tmp_path.chmod(0o555)
    with get_context("fork").Pool(8) as pool:
        sums = pool.map(_sums, [tmp_path / "cams.h5"] * 24, chunksize=1)
    tmp_path.chmod(0o755)
    assert sums == [_sums(tmp_path / "cams.h5")] * 24


def test_missing_id(tmp_path):
    write(tmp_path / "cams.h5")
    with CamFile(tmp_path / "cams.h5") as file, pytest.raises(SemplesError) as error:
        file.read("z")
    texts = ("no image 'z'", "one of its 3 ids", "run `semples cams` on this split")
    assert error.value.args == (tmp_path / "cams.h5", *texts)


def test_wrong_version(tmp_path):
    write(tmp_path / "cams.h5")
    with h5py.File(tmp_path / "cams.h5", "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(SemplesError) as error:
        CamFile(tmp_path / "cams.h5")
    texts = ("format 'semples.cams' version 2", "'semples.cams' version 1", "run `semples cams` again")
    assert error.value.args == (tmp_path / "cams.h5", *texts)
    with h5py.File(tmp_path / "cams.h5", "r+"):  # closed, though the error is still at hand
        pass


def test_truncated_and_flipped_files(tmp_path):
    write(tmp_path / "cams.h5", "float32")
    whole = (tmp_path / "cams.h5").read_bytes()
    (tmp_path / "short.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SemplesError, match="unreadable") as error:
        CamFile(tmp_path / "short.h5")
    assert error.value.args[2:] == ("a whole HDF5 file", "delete it and run `semples cams` again")
    with h5py.File(tmp_path / "cams.h5") as file:
        offset = file["images/b%2F2/score"].id.get_chunk_info(0).byte_offset
    flipped = bytearray(whole)
    flipped[offset + 20] ^= 0xFF
    (tmp_path / "flipped.h5").write_bytes(flipped)
    with CamFile(tmp_path / "flipped.h5") as file, pytest.raises(SemplesError, match="unreadable"):
        file.read("b/2")


def test_class_mismatch(tmp_path):
    write(tmp_path / "cams.h5")
    with CamFile(tmp_path / "cams.h5") as file, pytest.raises(SemplesError) as error:
        file.require_classes(("cat", "dog"))
    texts = ("classes ('cat', 'dog', 'ox')", "the manifest's ('cat', 'dog')", "run `semples cams` again")
    assert error.value.args == (tmp_path / "cams.h5", *texts)


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
    with pytest.raises(SemplesError) as error:
        CamFile(tmp_path / "cams.h5")
    expected, remedy = "a shard of the run that wrote cams.h5", "run `semples cams` again for all shards"
    assert error.value.args == (paths[1], "a shard of another run", expected, remedy)
    paths[1].unlink()
    with pytest.raises(SemplesError, match=r"1.h5\n  found:    no such file"):
        CamFile(tmp_path / "cams.h5")


def test_shards_elsewhere_are_refused_and_paths_may_be_relative(tmp_path, monkeypatch):
    paths, scores = write_shards(tmp_path)
    (tmp_path / "index").mkdir()
    with pytest.raises(SemplesError) as error:
        join_shards(paths, tmp_path / "index/cams.h5")
    folder = tmp_path / "index"
    assert error.value.args == (paths[0], "a shard elsewhere", f"a file in {folder} or below", "write it there")
    monkeypatch.chdir(tmp_path)
    join_shards([Path("shards/0.h5"), paths[1]], Path("cams.h5"))
    (tmp_path / "link").symlink_to(tmp_path)
    join_shards(paths, tmp_path / "link/linked.h5")
    for name in ("cams.h5", "linked.h5"):
        with CamFile(tmp_path / name) as file:
            assert file.ids == list(scores)


def test_shards_of_two_runs_or_with_the_same_images_are_refused(tmp_path):
    paths, _ = write_shards(tmp_path)
    write_shard = {"same": MADE_FROM, "other": MADE_FROM | {"weights": "other"}}
    for name, made_from in write_shard.items():
        with CamWriter(tmp_path / f"{name}.h5", ("cat", "dog"), ["a" if name == "same" else "z"], "float16", made_from):
            pass
        with pytest.raises(SemplesError, match="a shard of another run, or with images of another shard"):
            join_shards([*paths, tmp_path / f"{name}.h5"], tmp_path / "cams.h5")


def test_an_index_names_its_shards_and_their_digests(tmp_path):
    paths, _ = write_shards(tmp_path)
    join_shards(paths, tmp_path / "cams.h5")
    with h5py.File(tmp_path / "cams.h5") as file:
        rows = file["shards"].asstr()[:].tolist()
        assert rows == [[f"shards/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest()] for path in paths]
        link = file["images"].get("b%2F2", getlink=True)
        assert (link.filename, link.path) == ("shards/0.h5", "/images/b%2F2")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.nan, "a score that is not finite"),
        (np.inf, "a score that is not finite"),
        (1.5, "scores 0.25 to 1.5"),
        (-0.5, "scores -0.5 to 0.25"),
    ],
)
def test_scores_outside_zero_to_one_are_neither_written_nor_read(tmp_path, value, problem):
    score = np.array([[[0.25, value]]], np.float32)
    with CamWriter(tmp_path / "cams.h5", ("cat", "dog"), ["a", "b"], "float32", MADE_FROM) as writer:
        writer.add("a", np.array([[[0.0, 1.0]]], np.float32), np.array([1]), 3, 4)
        with pytest.raises(SemplesError) as error:
            writer.add("b", score, np.array([0]), 3, 4)
        remedy = "train the generator with a lower learning rate"
        assert error.value.args == ("CAMs of image 'b'", problem, "finite scores in [0, 1]", remedy)
    with h5py.File(tmp_path / "cams.h5", "r+") as file:
        file["images/a/score"][:] = score
    with CamFile(tmp_path / "cams.h5") as file, pytest.raises(SemplesError) as error:
        file.read("a")
    expected, remedy = "finite scores in [0, 1] that fit the manifest", "run `semples cams` again"
    assert error.value.args == (f"{tmp_path / 'cams.h5'}, image 'a'", problem, expected, remedy)


def test_maps_must_fit_the_classes_and_the_image(tmp_path):
    with CamWriter(tmp_path / "cams.h5", ("cat", "dog"), ["fits", "more", "other"], "float32", MADE_FROM) as writer:
        for image, classes in (("fits", [0, 1]), ("more", [0]), ("other", [0, 2])):
            writer.add(image, np.ones((2, 1, 1), np.float32), np.array(classes), 3, 4)
    with CamFile(tmp_path / "cams.h5") as file:
        assert file.read("fits", (3, 4)).classes.tolist() == [0, 1]
        for image, problem in (("more", r"2 maps of the classes \[0\]"), ("other", r"2 maps of the classes \[0 2\]")):
            with pytest.raises(SemplesError, match=f"image '{image}'\n  found:    {problem}, of 2 classes\n"):
                file.read(image)
        with pytest.raises(SemplesError, match="found:    maps of 4x3 pixels, of an image of 3x4\n"):
            file.read("fits", (4, 3))


def test_an_image_that_its_shard_has_lost_is_damage_and_not_another_split(tmp_path):
    paths, _ = write_shards(tmp_path)
    join_shards(paths, tmp_path / "cams.h5")
    with h5py.File(paths[0], "r+") as shard:
        del shard["images/a"]
    with CamFile(tmp_path / "cams.h5") as file, pytest.raises(SemplesError, match="unreadable"):
        file.read("a")


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(SemplesError, match=r"make it with `semples cams`$"):
        CamFile(tmp_path / "cams.h5")


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_random_files_come_back_as_they_were(tmp_path, dtype):
    rng = np.random.default_rng(0)
    letters = np.array(list("aZ09 _-.,;'\"#ßλ日é&%/"))
    for _ in range(10):
        words = ["".join(rng.choice(letters, rng.integers(1, 9))).strip("./") or "x" for _ in range(30)]
        ids, names = list(dict.fromkeys(words))[:8], words[8:11]
        maps = [rng.random((rng.integers(1, 4), *rng.integers(1, 20, 2))).astype(np.float32) for _ in ids]
        with CamWriter(tmp_path / "cams.h5", names, ids, dtype, MADE_FROM) as writer:
            for image, score in zip(ids, maps):
                writer.add(image, score, rng.permutation(3)[: len(score)], *rng.integers(1, 999, 2))
        with CamFile(tmp_path / "cams.h5") as file:
            assert (file.ids, list(file.class_names)) == (ids, names)
            for image, score in zip(ids, maps):
                error = {"uint8": 0.5001 / 255, "float16": 5e-4, "float32": 0}[dtype]
                assert np.abs(file.read(image).score - score).max() <= error


def another_methods(folder, labels="dog;owl", size=(3, 2), **arrays) -> tuple[CamFolder, Manifest]:
    """Arrays of images of this size in four classes, and the images."""
    for name, score in arrays.items():
        np.save(folder / f"{name}.npy", score)
    rows = [{"id": name, "labels": labels, "width": size[0], "height": size[1]} for name in arrays]
    names = ("cat", "dog", "owl", "ox")
    images = Manifest(pd.DataFrame(rows), Classes(names, names, ("#ffffff",) * 4))
    return CamFolder(folder, images), images


def test_another_methods_maps_are_of_the_labels_or_of_all_classes(tmp_path, capsys):
    some, every = np.arange(12).reshape(2, 2, 3) / 12, np.arange(24).reshape(4, 2, 3) / 24
    cams, images = another_methods(tmp_path, some=some)
    maps = cams.read("some")
    assert (maps.score.dtype, maps.classes.tolist(), maps.height, maps.width) == (np.float32, [1, 2], 2, 3)
    assert np.array_equal(maps.score, some.astype(np.float32))
    assert isinstance(open_cams(tmp_path, images), CamFolder)
    assert "1 arrays, a map for every label" in capsys.readouterr().out
    cams, images = another_methods(tmp_path, every=9 * every - 3)
    assert cams.read("every").classes.tolist() == [0, 1, 2, 3]
    open_cams(tmp_path, images)
    text = capsys.readouterr().out
    assert "every class,\nin the order cat, dog, owl, ox; values -3 to 5.625 are scaled" in text


@pytest.mark.parametrize("shape", [(3, 2, 3), (5, 2, 3), (2, 3), (1, 2, 2, 3), (0, 2, 3), (2, 0, 3)])
def test_another_methods_maps_of_another_shape_are_refused(tmp_path, shape):
    cams, _ = another_methods(tmp_path, a=np.zeros(shape))
    with pytest.raises(SemplesError) as error:
        cams.read("a")
    assert str(tmp_path / "a.npy") in str(error.value)
    assert str(shape) in str(error.value)
    assert "2 present classes or all 4, height, width), without background" in str(error.value)


def test_what_may_be_background_and_labels_or_all_classes_needs_the_setting(tmp_path):
    _, images = another_methods(tmp_path, "cat;dog;owl", a=np.ones((4, 2, 3)), b=np.ones((4, 2, 3)))
    with pytest.raises(SemplesError, match=r"or of the background and the labels[\s\S]*`cpl.start_maps: all`"):
        open_cams(tmp_path, images)
    assert open_cams(tmp_path, images, "all").read("a").classes.tolist() == [0, 1, 2, 3]
    _, images = another_methods(tmp_path, a=np.ones((4, 2, 3)), b=np.ones((2, 2, 3)))
    with pytest.raises(SemplesError, match="arrays of all classes, and some of labels"):
        open_cams(tmp_path, images)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((150, 200), True), ((38, 50), True), ((64, 64), True), ((40, 52), True), ((200, 150), False), ((20, 60), False)],
)
def test_another_methods_maps_have_the_shape_of_the_image_or_are_square(tmp_path, shape, fits):
    _, images = another_methods(tmp_path, size=(200, 150), a=np.ones((2, *shape)))
    if fits:
        open_cams(tmp_path, images)
    else:
        with pytest.raises(SemplesError, match=f"a.npy\n  found:    maps of {shape[1]}x{shape[0]}\n"):
            open_cams(tmp_path, images)


def test_another_methods_pickles_and_broken_arrays_are_refused(tmp_path):
    spoiled, words = np.full((2, 2, 3), np.nan), np.full((2, 2, 3), "a")
    pickled, broken = np.array([{"a": 1}], object), np.zeros((2, 2, 2))
    cams, images = another_methods(tmp_path, pickled=pickled, broken=broken, nan=spoiled, words=words, z=broken)
    whole = (tmp_path / "broken.npy").read_bytes()
    (tmp_path / "broken.npy").write_bytes(whole[:-8])
    for name in ("pickled", "broken", "words"):
        with pytest.raises(SemplesError, match=rf"{name}.npy\n  found:    unreadable"):
            cams.read(name)
    (tmp_path / "broken.npy").write_bytes(b"")
    (tmp_path / "z.npy").unlink()
    for name, problem in (("broken", "unreadable"), ("z", "no such file"), ("nan", "a value that is not finite")):
        with pytest.raises(SemplesError, match=rf"{name}.npy\n  found:    {problem}"):
            cams.read(name)
    with pytest.raises(SemplesError, match="unreadable"):
        open_cams(tmp_path, images)


class Touch:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_pickle_is_loaded_before_it_is_refused(tmp_path):
    cams, _ = another_methods(tmp_path, a=np.array([Touch(tmp_path / "ran")], object))
    with pytest.raises(SemplesError, match=r"a.npy\n  found:    unreadable"):
        cams.read("a")
    assert not (tmp_path / "ran").exists()


def test_errors_of_another_methods_maps_say_what_is_expected(tmp_path):
    cams, _ = another_methods(tmp_path, words=np.full((2, 2, 3), "a"), flat=np.zeros(3), nan=np.full((2, 2, 3), np.inf))
    array, shape = (
        "a plain float array for every image",
        "(2 present classes or all 4, height, width), without background",
    )
    errors = {
        "words": ("unreadable: values of type <U1", array, "save it with numpy.save"),
        "flat": ("an array of shape (3,)", shape, "save a map for every label"),
        "nan": ("a value that is not finite", "finite numbers", "export the CAMs again"),
        "gone": ("no such file", array, "save it with numpy.save"),
    }
    cams.labels["gone"] = cams.labels["flat"]
    for name, texts in errors.items():
        with pytest.raises(SemplesError) as error:
            cams.read(name)
        assert error.value.args == (tmp_path / f"{name}.npy", *texts)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float16, np.float64])
def test_maps_of_every_type_of_number_are_read_as_float32(tmp_path, dtype):
    cams, _ = another_methods(tmp_path, a=np.array([[[0, 1]], [[1, 1]]], dtype))
    maps = cams.read("a")
    assert maps.score.dtype == np.float32
    assert maps.score.tolist() == [[[0, 1]], [[1, 1]]]


def test_what_a_check_of_another_methods_maps_says(tmp_path, capsys):
    (tmp_path / "one").mkdir()
    one, two = np.full((2, 2, 3), -1.5), np.full((2, 4, 6), 0.123456)
    _, images = another_methods(tmp_path / "one", a=two, b=one)
    CamFolder(tmp_path / "one", images).check(images, "auto")
    lines = [f"{tmp_path / 'one'}: 2 arrays, a map for every label,"]
    lines += ["in the order cat, dog, owl, ox; values -1.5 to 0.1235 are scaled to [0, 1]"]
    assert capsys.readouterr().out.splitlines() == lines
    _, images = another_methods(tmp_path, "cat;dog;owl", a=np.ones((4, 2, 3)))
    remedy = "save maps[1:], without background, or set `cpl.start_maps: all`"
    with pytest.raises(SemplesError) as error:
        CamFolder(tmp_path, images).check(images, "auto")
    problem = "arrays of all classes, or of the background and the labels"
    assert error.value.args == (tmp_path, problem, "maps of one meaning", remedy)
    _, images = another_methods(tmp_path, a=np.ones((4, 2, 3)), b=np.ones((2, 2, 3)))
    with pytest.raises(SemplesError) as error:
        CamFolder(tmp_path, images).check(images, "all")
    assert error.value.args == (tmp_path, "arrays of all classes, and some of labels", "maps of one meaning", remedy)
    _, images = another_methods(tmp_path, size=(200, 150), a=np.ones((2, 200, 150)))
    with pytest.raises(SemplesError) as error:
        CamFolder(tmp_path, images).check(images, "auto")
    texts = ("maps of 150x200", "the shape of 200x150 pixels", "save (classes, height, width)")
    assert error.value.args == (tmp_path / "a.npy", *texts)


def test_a_file_without_maps_of_all_images_is_refused(tmp_path):
    _, images = another_methods(tmp_path, a=np.ones((2, 1, 1)), b=np.ones((2, 1, 1)), c=np.ones((2, 1, 1)))
    with CamWriter(tmp_path / "cams.h5", images.classes.names, ["b", "x"], "float16", MADE_FROM):
        pass
    with pytest.raises(SemplesError) as error:
        open_cams(tmp_path / "cams.h5", images)
    texts = ("no maps of 2 images such as 'a'", "all 3 images", "run `semples cams` on this split")
    assert error.value.args == (tmp_path / "cams.h5", *texts)


def test_cams_are_opened_as_what_they_are(tmp_path, miniature):
    images = read_manifest(miniature).split("val")
    ids, rows = images.table["id"].tolist(), images.label_matrix()
    cams = CamFolder(tmp_path, images)
    assert (cams.names, list(cams.labels)) == (images.classes.names, ids)
    assert [row.nonzero()[0].tolist() for row in rows] == [k.tolist() for k in cams.labels.values()]
    for name, present in (("cams.h5", ids), ("few.h5", ids[1:])):
        with CamWriter(tmp_path / name, images.classes.names, present, "float16", MADE_FROM):
            pass
    with open_cams(tmp_path / "cams.h5", images) as file:
        assert isinstance(file, CamFile)
    write(tmp_path / "other.h5")
    for name, problem in (("other.h5", "classes"), ("few.h5", f"no maps of 1 images such as '{ids[0]}'")):
        with pytest.raises(SemplesError, match=rf"{name}\n  found:    {problem}"):
            open_cams(tmp_path / name, images)


def test_the_digest_of_cams_covers_names_and_contents(tmp_path):
    another_methods(tmp_path, a=np.zeros((2, 1, 1)), b=np.zeros((2, 1, 1)))
    first = cams_digest(tmp_path)
    (tmp_path / "notes.txt").write_text("not an array")
    assert cams_digest(tmp_path) == first
    (tmp_path / "b.npy").rename(tmp_path / "c.npy")
    assert cams_digest(tmp_path) != first
    write(tmp_path / "one.h5")
    assert cams_digest(tmp_path / "one.h5") != cams_digest(tmp_path / "a.npy")
