"""The manifest: round trip, splits, labels, and clear errors."""

import numpy as np
import pandas as pd
import pytest

from semples.data.images import class_colours
from semples.data.manifest import COLUMNS, Classes, Manifest, read_classes, read_manifest, split_counts, write_manifest
from semples.errors import SemplesError

CLASSES = Classes(("dog", "cat"), ("dog", "house cat"), ("#ff0000", "#00ff00"))


def table(**changes) -> pd.DataFrame:
    rows = [
        ["a", "images/a.jpg", "", "train;train_aug", 10, 20, "dog;cat"],
        ["b", "images/b.jpg", "b.png", "val", 30, 20, "cat"],
        ["ç d", "/data/c d.jpg", "", "train_aug", 5, 5, ""],
    ]
    return pd.DataFrame(rows, columns=COLUMNS).assign(**changes)


def test_round_trip(tmp_path):
    write_manifest(tmp_path / "manifest.csv", table(), CLASSES)
    images = read_manifest(tmp_path / "manifest.csv")
    assert images.classes == CLASSES
    assert images.table["image"].tolist() == [
        str(tmp_path / "images/a.jpg"),
        str(tmp_path / "images/b.jpg"),
        "/data/c d.jpg",
    ]
    assert images.table["mask"].tolist() == ["", str(tmp_path / "b.png"), ""]
    assert images.label_matrix().tolist() == [[1, 1], [0, 1], [0, 0]]


def test_splits_labels_and_masks(tmp_path):
    write_manifest(tmp_path / "manifest.csv", table(), CLASSES)
    images = read_manifest(tmp_path / "manifest.csv")
    assert list(images.split("train").table["id"]) == ["a"]
    assert list(images.split("train_aug").with_labels().table["id"]) == ["a"]
    assert list(images.with_masks().table["id"]) == ["b"]
    with pytest.raises(SemplesError, match="train_aug"):
        images.split("test")


def test_digest_ignores_where_the_files_lie(tmp_path):
    write_manifest(tmp_path / "one" / "manifest.csv", table(), CLASSES)
    write_manifest(tmp_path / "two" / "manifest.csv", table(image=["x", "y", "z"]), CLASSES)
    write_manifest(tmp_path / "three" / "manifest.csv", table(labels=["dog", "cat", ""]), CLASSES)
    one, two, three = (read_manifest(tmp_path / n / "manifest.csv").digest() for n in ("one", "two", "three"))
    assert one == two != three


def test_digest_covers_everything_but_the_paths(tmp_path):
    write_manifest(tmp_path / "manifest.csv", table(), CLASSES)
    images = read_manifest(tmp_path / "manifest.csv")
    assert Manifest(images.table.assign(mask="m.png", image="i.png"), CLASSES).digest() == images.digest()
    for column, cells in (("id", list("abc")), ("split", "val"), ("width", 7), ("height", 7), ("labels", "")):
        assert Manifest(images.table.assign(**{column: cells}), CLASSES).digest() != images.digest(), column
    for names, texts in ((("dog", "cow"), CLASSES.texts), (CLASSES.names, ("dog", "cat"))):
        assert Manifest(images.table, Classes(names, texts, CLASSES.colours)).digest() != images.digest()
    assert Manifest(images.table, Classes(CLASSES.names, CLASSES.texts, ("#000000",) * 2)).digest() == images.digest()


def test_the_files_as_they_are_written(tmp_path):
    write_manifest(tmp_path / "manifest.csv", table().assign(more=1), CLASSES)
    assert (tmp_path / "manifest.csv").read_text(encoding="utf-8").splitlines() == [
        "id,image,mask,split,width,height,labels",
        "a,images/a.jpg,,train;train_aug,10,20,dog;cat",
        "b,images/b.jpg,b.png,val,30,20,cat",
        "ç d,/data/c d.jpg,,train_aug,5,5,",
    ]
    written = (tmp_path / "classes.csv").read_text(encoding="utf-8").splitlines()
    assert written == ["name,text,colour", "dog,dog,#ff0000", "cat,house cat,#00ff00"]


def test_a_palette_is_black_the_colours_and_vocs_void():
    palette = Classes(("a", "b"), ("a", "b"), ("#0180ff", "#102030")).palette()
    assert (palette.shape, palette.dtype) == ((256, 3), np.uint8)
    assert palette[:4].tolist() == [[0, 0, 0], [1, 128, 255], [16, 32, 48], [0, 0, 0]]
    assert palette[254:].tolist() == [[0, 0, 0], [224, 224, 192]]


@pytest.mark.parametrize(("count", "first"), [(7, [0, 114, 178]), (8, [128, 0, 0])])
def test_few_classes_in_the_colours_of_voc_are_shown_in_those_of_okabe_and_ito(count, first):
    names = tuple("abcdefgh"[:count])
    voc, own = (Classes(names, names, colours) for colours in (class_colours(count), ("#0180ff",) * count))
    assert voc.palette()[1].tolist() == [128, 0, 0]
    assert voc.shown_palette()[1].tolist() == first
    assert np.array_equal(voc.shown_palette()[[0, 255]], voc.palette()[[0, 255]])
    assert np.array_equal(own.shown_palette(), own.palette())


@pytest.mark.parametrize("count", [254, 255, 300])
def test_a_palette_has_room_for_254_colours(count):
    colours = tuple(f"#{k:06x}" for k in range(1, count + 1))
    palette = Classes(colours, colours, colours).palette()
    assert palette[[1, 254, 255]].tolist() == [[0, 0, 1], [0, 0, 254], [224, 224, 192]]


def test_masks_of_no_image_are_reported_by_name(tmp_path, caplog):
    images = Manifest(table(id=["a", "b/c", "d.e"]), CLASSES)
    strays = [f"old{number}" for number in range(7)]
    for name in ("a", "b/c", "d.e", "confidence/a", "confidence/b/c", *strays[:5]):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "notes.txt").touch()
    images.report_strays(tmp_path)
    text = f"{tmp_path}: {{}} PNG of no image of the manifest, not read: {', '.join(strays[:5])}"
    assert caplog.messages == [text.format(5)]
    for name in strays[5:]:
        (tmp_path / f"{name}.png").touch()
    images.report_strays(tmp_path)
    assert caplog.messages[1:] == [text.format(7) + ", ..."]
    for name in strays:
        (tmp_path / f"{name}.png").unlink()
    images.report_strays(tmp_path)
    assert len(caplog.messages) == 2


def test_split_counts_by_name():
    counts = split_counts(table())
    assert list(counts.items()) == [("train", 1), ("train_aug", 2), ("val", 1)]
    assert split_counts(table(split="")) == {}


def test_numbers_and_words_of_cells_stay_text(tmp_path):
    written = table(id=["007", "NA", "1.50"], labels=["NA", "7", ""])
    write_manifest(tmp_path / "manifest.csv", written, Classes(("NA", "7"), ("NA", "null"), ("#000000", "#000000")))
    images = read_manifest(tmp_path / "manifest.csv")
    assert images.table["id"].tolist() == ["007", "NA", "1.50"]
    assert images.table["labels"].tolist() == ["NA", "7", ""]
    assert images.classes.names == ("NA", "7")
    assert images.classes.texts == ("NA", "null")
    assert images.table["width"].tolist() == [10, 30, 5]
    assert images.table["height"].tolist() == [20, 20, 5]
    (tmp_path / "classes.csv").write_text("name,text,colour\n007,1.50,#000000\n")
    assert read_classes(tmp_path / "classes.csv") == Classes(("007",), ("1.50",), ("#000000",))


@pytest.mark.parametrize("name", ["/a", "../a", "a/../b", "a/.."])
def test_an_id_that_leaves_the_folder_is_refused(tmp_path, name):
    with pytest.raises(SemplesError, match=f"id '{name}'"):
        write_manifest(tmp_path / "manifest.csv", table(id=["x", name, "y"]), CLASSES)
    write_manifest(tmp_path / "manifest.csv", table(id=["a/b", "a..b", "..a"]), CLASSES)


@pytest.mark.parametrize(("count", "fits"), [(0, False), (1, True), (254, True), (255, False)])
def test_a_mask_has_room_for_254_classes(tmp_path, count, fits):
    names = tuple(f"c{k}" for k in range(count))
    classes = Classes(names, names, ("#000000",) * count)
    if fits:
        write_manifest(tmp_path / "manifest.csv", table(labels=["", "", ""]), classes)
    else:
        with pytest.raises(SemplesError, match=f"{count} classes"):
            write_manifest(tmp_path / "manifest.csv", table(labels=["", "", ""]), classes)


def test_classes_are_checked_when_they_are_read(tmp_path):
    with pytest.raises(SemplesError, match="a class twice"):
        write_manifest(tmp_path / "manifest.csv", table(), Classes(("dog", "dog"), ("a", "b"), ("#000000",) * 2))
    write_manifest(tmp_path / "manifest.csv", table(), CLASSES)
    (tmp_path / "classes.csv").write_text("name,colour\ndog,#000000\n")
    with pytest.raises(SemplesError, match=r"classes.csv\n  found:    columns(.|\n)*also \['text'\]"):
        read_manifest(tmp_path / "manifest.csv")
    (tmp_path / "classes.csv").unlink()
    with pytest.raises(SemplesError, match=r"classes.csv\n  found:    no such file"):
        read_manifest(tmp_path / "manifest.csv")
    with pytest.raises(SemplesError, match=r"other.csv\n  found:    no such file"):
        read_manifest(tmp_path / "other.csv")


def test_a_manifest_is_checked_when_it_is_read(tmp_path):
    write_manifest(tmp_path / "manifest.csv", table(), CLASSES)
    text = (tmp_path / "manifest.csv").read_text(encoding="utf-8")
    (tmp_path / "manifest.csv").write_text(text.replace("dog;cat", "dog;wolf"), encoding="utf-8")
    with pytest.raises(SemplesError, match="label 'wolf' on image 'a'"):
        read_manifest(tmp_path / "manifest.csv")


@pytest.mark.parametrize("cell", ["30.5", "inf", "", "wide"])
def test_a_size_that_is_no_whole_number_is_an_error(tmp_path, cell):
    write_manifest(tmp_path / "manifest.csv", table(), CLASSES)
    text = (tmp_path / "manifest.csv").read_text(encoding="utf-8")
    (tmp_path / "manifest.csv").write_text(text.replace(",30,20,", f",{cell},20,"), encoding="utf-8")
    with pytest.raises(SemplesError, match=r"manifest.csv\n  found:") as error:
        read_manifest(tmp_path / "manifest.csv")
    if cell != "wide":
        texts = ("a width or height that is no whole number", "pixels", "run `semples data` again")
        assert error.value.args == (tmp_path / "manifest.csv", *texts)


def test_a_sample_keeps_the_order_and_draws_from_all_rows(tmp_path):
    many = pd.concat([table()] * 10, ignore_index=True).assign(id=[f"{n:02}" for n in range(30)])
    write_manifest(tmp_path / "manifest.csv", many, CLASSES)
    images = read_manifest(tmp_path / "manifest.csv")
    samples = [images.sample(5, seed).table for seed in range(4)]
    assert all(sample["id"].is_monotonic_increasing and list(sample.index) == [0, 1, 2, 3, 4] for sample in samples)
    assert len({tuple(sample["id"]) for sample in samples}) == 4
    assert images.sample(30, 1).table.equals(images.table)
    assert list(images.split("val").table.index) == list(range(10))
    assert images.sample(5, 1).classes is images.classes


def test_random_manifests_come_back_as_they_were(tmp_path):
    rng = np.random.default_rng(0)
    letters = np.array(list("aZ09 _-.,;'\"#ßλ日é&%"))
    for number in range(40):
        count = int(rng.integers(1, 6))
        words = ["".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(60)]
        names = [word for word in dict.fromkeys(words) if ";" not in word and word.strip() == word][:count]
        classes = Classes(tuple(names), tuple(words[:count]), tuple(f"#{rng.integers(2**24):06x}" for _ in names))
        labels = [";".join(name for name in names if rng.random() < 0.5) for _ in range(8)]
        ids = [f"{number}{word}" for word in dict.fromkeys(words)][:8]
        written = pd.DataFrame(dict(zip(COLUMNS, [ids, ids, "", "train;val", 3, 4, labels])))
        write_manifest(tmp_path / "manifest.csv", written, classes)
        images = read_manifest(tmp_path / "manifest.csv")
        assert images.classes == classes
        assert images.table["id"].tolist() == ids
        assert images.table["image"].tolist() == [str(tmp_path / name) for name in ids]
        expected = [[float(name in cell.split(";")) for name in names] for cell in labels]
        assert images.label_matrix().tolist() == expected
        assert images.label_matrix().dtype == np.float32


def test_label_outside_the_class_list(tmp_path):
    with pytest.raises(SemplesError, match=r"label 'wolf' on image 'a'(.|\n)*dog, cat"):
        write_manifest(tmp_path / "manifest.csv", table(labels=["dog;wolf", "cat", ""]), CLASSES)
    assert not list(tmp_path.iterdir())


def test_repeated_id(tmp_path):
    with pytest.raises(SemplesError, match="id 'a' twice"):
        write_manifest(tmp_path / "manifest.csv", table(id=["a", "a", "b"]), CLASSES)


def test_missing_column(tmp_path):
    with pytest.raises(SemplesError, match="labels"):
        write_manifest(tmp_path / "manifest.csv", table().drop(columns="labels"), CLASSES)


def test_sample_is_drawn_by_seed(tmp_path):
    write_manifest(tmp_path / "manifest.csv", table(), CLASSES)
    images = read_manifest(tmp_path / "manifest.csv")
    assert len(images.sample(2, 0)) == 2
    assert images.sample(2, 0).table.equals(images.sample(2, 0).table)
    assert len(images.sample(9, 0)) == 3


ERRORS = {
    "id twice": ({"id": ["a", "b", "a"]}, CLASSES, "id 'a' twice", "unique ids", "rename one of the two"),
    "id outside": (
        {"id": ["a", "b/../c", "d"]},
        CLASSES,
        "id 'b/../c' leads outside: it begins or ends with a slash, or has '..' or '.'",
        "another name",
        "change the id",
    ),
    "no class": (
        {"labels": ""},
        Classes((), (), ()),
        "0 classes",
        "1 to 254, the indices of a mask",
        "correct the classes",
    ),
    "class twice": (
        {"labels": ""},
        Classes(("a", "a"), ("a", "b"), ("#000000",) * 2),
        "a class twice",
        "each class once",
        "correct the classes file",
    ),
    "label": (
        {"labels": ["dog", "dog;yak;wolf", "cow"]},
        CLASSES,
        "label 'wolf' on image 'b'",
        "one of the 2 classes: dog, cat",
        "correct the label, or add the class to the classes file",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_names_what_is_wrong_what_is_right_and_the_remedy(tmp_path, name):
    changes, classes, *texts = ERRORS[name]
    with pytest.raises(SemplesError) as error:
        write_manifest(tmp_path / "manifest.csv", table(**changes), classes)
    assert error.value.args == (tmp_path / "manifest.csv", *texts)


def test_missing_columns_and_splits_are_named_with_what_there_is(tmp_path):
    with pytest.raises(SemplesError) as error:
        write_manifest(tmp_path / "manifest.csv", table().drop(columns=["labels", "height", "mask"]), CLASSES)
    texts = ("columns ['id', 'image', 'split', 'width']", "also ['height', 'labels', 'mask']", "add the columns")
    assert error.value.args == (tmp_path / "manifest.csv", *texts)
    with pytest.raises(SemplesError) as error:
        Manifest(table(), CLASSES).split("test")
    texts = ("no image", "one of ['train', 'train_aug', 'val']", "name another split in config.yaml")
    assert error.value.args == ("split 'test'", *texts)
    for path in (tmp_path / "manifest.csv", tmp_path / "classes.csv"):
        with pytest.raises(SemplesError, match=r"make it with `semples data`$"):
            (read_classes if path.stem == "classes" else read_manifest)(path)
