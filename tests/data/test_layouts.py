"""Folders, tables and names as people have them: each is read as its owner means it, or is one clear error."""

import os
from pathlib import Path

import pandas as pd
import pytest

from semples.config.settings import Data
from semples.data.importers.listing import read_listing, table_files, unlisted_images
from semples.data.importers.photos import load
from semples.data.importers.registry import load_data_set
from semples.data.manifest import Classes, problems
from semples.errors import SemplesError

pytestmark = pytest.mark.fault("bad files tried")


def tree(root: Path, *names: str) -> Path:
    """Write empty files; nothing here opens an image."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listed(root: Path, **settings) -> dict[str, tuple[str, str]]:
    """Return split and labels by id."""
    rows, _ = read_listing(Data(source="photos", root=str(root), **settings))
    return {row["id"]: (row["split"], row["labels"]) for row in rows}


def labels(root: Path, **settings) -> dict[str, str]:
    return {name: cell for name, (_, cell) in listed(root, **settings).items()}


def table(root: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


@pytest.mark.parametrize(
    "names",
    [
        "train/dog/1.jpg train/cat/2.jpg valid/dog/3.jpg test/cat/4.jpg",
        "Training/dog/1.jpg Training/cat/2.jpg Validation/dog/3.jpg TEST/cat/4.jpg",
        "images/train2017/dog/1.jpg images/train2017/cat/2.jpg images/val2017/dog/3.jpg images/test2017/cat/4.jpg",
        "train/images/dog/1.jpg train/images/cat/2.jpg dev/images/dog/3.jpg testing/images/cat/4.jpg",
        "dog/train/1.jpg cat/train/2.jpg dog/val/3.jpg cat/test/4.jpg",
        "data/training_set/dog/1.jpg data/training_set/cat/2.jpg data/val_set/dog/3.jpg data/test_set/cat/4.jpg",
    ],
)
def test_splits_above_or_below_the_classes(tmp_path, names):
    rows = {name[-1]: row for name, row in listed(tree(tmp_path / "zoo", *names.split())).items()}
    assert rows == {"1": ("train", "dog"), "2": ("train", "cat"), "3": ("val", "dog"), "4": ("test", "cat")}


def test_splits_have_the_names_of_the_settings(tmp_path):
    root = tree(tmp_path / "zoo", "train/dog/1.jpg", "val/dog/2.jpg")
    assert listed(root, train="learn", val="look") == {"train/dog/1": ("learn", "dog"), "val/dog/2": ("look", "dog")}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("train/dog/1.jpg valid/dog/2.jpg cow/3.jpg", "folder 'train' beside 'cow'"),
        ("train/dog/1.jpg cow/3.jpg", "folder 'train' beside 'cow'"),
        ("test/1.jpg cow/3.jpg", "folder 'test' beside 'cow'"),
        ("train/1.jpg valid/2.jpg", "2 photographs without labels"),
        ("images/1.jpg images/2.jpg", "2 photographs without labels"),
        ("images/train/1.jpg images/val/2.jpg labels/train/1.txt", "2 photographs without labels"),
        ("images/1.jpg masks/1.png", "1 masks among the photographs"),
        ("JPEGImages/1.jpg SegmentationClass/1.png", "1 masks among the photographs"),
        ("images/dog/1.jpg annotations/dog/1.png", "1 masks among the photographs"),
        ("dog/1.jpg dog/masks/1.png cat/2.jpg", "1 masks among the photographs"),
        ("dog/1.jpg dog/1_mask.png dog/1_mask_1.png", "2 masks among the photographs"),
        ("imgs/dog/1.jpg segs/dog/1.png", "1 masks among the photographs"),
        ("leftImg8bit/1.png gtFine/1_labelIds.png", "1 masks among the photographs"),
        ("dog/1.jpg dog_masks/1.png", "1 masks among the photographs"),
        ("dog/1.jpg dog/1.png cat/2.jpg cat/2.png", "2 masks among the photographs"),
        ("images/1.jpg extra/2.jpg", "folder 'images' beside 'extra'"),
        ("animals/dog/1.jpg animals/cat/2.jpg", "set `data.root` to animals"),
        ("fold1/dog/1.jpg fold1/cat/2.jpg fold2/dog/3.jpg", "folders of fold1, fold2"),
        ("dog/1.jpg cat/", r"cat\n  found:    a folder without a photograph"),
        ("dog/1.jpg cat/notes.txt", r"cat\n  found:    a folder without a photograph"),
        ("train/dog/1.jpg train/cat/ val/dog/1.jpg", r"cat\n  found:    a folder without a photograph"),
        ("dog/1.jpg cat/1.HEIC cat/2.NEF", r"cat/1.HEIC\n  found:    2 photographs in formats.*1 .heic, 1 .nef"),
        ("d;g/1.jpg", "folder 'd;g' has a ';'"),
        ("", "no image"),
    ],
)
def test_folders_that_may_mean_two_things(tmp_path, names, message):
    for name in names.split():
        (tmp_path / name).mkdir(parents=True) if name.endswith("/") else tree(tmp_path, name)
    with pytest.raises(SemplesError, match=message):
        listed(tmp_path)


def test_a_train_is_a_vehicle_too(tmp_path):
    assert labels(tree(tmp_path, "train/1.jpg", "bus/2.jpg")) == {"train/1": "train", "bus/2": "bus"}


def test_hidden_files_are_left_out_and_counted(tmp_path):
    names = ".ipynb_checkpoints/1.png", "@eaDir/1.jpg", "__MACOSX/dog/._1.jpg", "dog/.ipynb_checkpoints/1.png"
    tree(tmp_path, *names, "dog/._1.jpg", "dog/Thumbs.db", "dog/1.JPEG", "dog/note.txt", "dog/2.jfif", "dog/3.Gif")
    rows, notes = read_listing(Data(source="photos", root=str(tmp_path)))
    assert {row["id"] for row in rows} == {"dog/1", "dog/2", "dog/3"}
    assert "left out: 1 files that are not read (1 .txt)" in notes
    assert any("6 hidden files and folders" in note for note in notes)


def test_photographs_that_are_not_read_may_be_left_out(tmp_path):
    tree(tmp_path, "dog/1.jpg", "dog/2.heic", "cow/3.heic")
    with pytest.raises(SemplesError, match=r"cow\n  found:    a folder without a photograph"):
        listed(tmp_path, unreadable="left_out")
    table(tmp_path, "name\ndog\n", "classes.csv")
    rows, notes = read_listing(Data(source="photos", root=str(tmp_path), unreadable="left_out"))
    assert len(rows) == 1
    assert "left out: 2 files that are not read (2 .heic)" in notes


def test_links_to_class_folders_are_followed_but_not_in_circles(tmp_path):
    tree(tmp_path / "elsewhere", "1.jpg", "2.jpg")
    tree(tmp_path / "zoo", "cat/3.jpg")
    (tmp_path / "zoo/dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "zoo/cat/back").symlink_to(tmp_path / "zoo")
    assert labels(tmp_path / "zoo") == {"cat/3": "cat", "dog/1": "dog", "dog/2": "dog"}
    (tmp_path / "zoo/cow").symlink_to(tmp_path / "gone")
    with pytest.raises(SemplesError, match=r"cow\n  found:    a symbolic link to nothing"):
        listed(tmp_path / "zoo")


@pytest.mark.parametrize(
    "text",
    [
        "image,labels\na.jpg,cat;dog\nb.jpg,dog\n",
        "\ufeffImage,LABELS,\r\na.jpg,cat ; dog,\r\n,,\r\nb.jpg,dog,\r\n,\r\n",
        "image;labels\na.jpg;\"cat;dog\"\nb.jpg;dog\n",
        "image, labels\na.jpg, \"cat;dog\"\nb.jpg, \"dog\"\n",
        "image|labels\na.jpg|cat;dog\nb.jpg|dog\n",
        "image,labels\n./a.jpg,dog\nx/../a.jpg,cat\nb.jpg,dog\n",
        "sep=;\r\nimage;labels\r\na.jpg;\"cat;dog\"\r\nb.jpg;dog\r\n",
        "image\tlabels\n a.jpg \tcat;dog\nb.jpg\tdog\n",
        ",image,labels\n0,a.jpg,cat;dog\n1,b.jpg,dog\n",
        "image,labels\na.jpg,dog\na.jpg,cat\nb.jpg,dog\nb.jpg,dog\n",
        "image,labels\n./a.jpg,\"['cat', 'dog']\"\nb.jpg,['dog']\n",
        'image,labels\na.jpg,"[""cat"", ""dog""]"\nb.jpg,"[""dog""]"\n',
        "image,labels\na.jpg,['cat' 'dog']\nb.jpg,\"{'dog'}\"\n",
        "image,labels\na.jpg,\"[cat, dog]\"\nb.jpg,\"('dog',)\"\n",
        "image,cat,dog\na.jpg,1,1\nb.jpg,0,1\n",
        "Unnamed: 0;image;cat;dog\n0;a.jpg;True;1.0\n1;b.jpg;;1\n",
        "image,labels\na.jpg,cat;dog;background\nb.jpg,dog;_background_;dog\n",
        "image,labels\ra.jpg,cat;dog\rb.jpg,dog\r",
        "image,labels\na.jpg,cat;dog\nb.jpg,dog\n".encode("utf-16"),
    ],
)  # fmt: skip
def test_tables_as_programs_write_them(tmp_path, text):
    rows = labels(table(tmp_path / "zoo", text))
    assert {name: set(cell.split(";")) for name, cell in rows.items()} == {"a": {"cat", "dog"}, "b": {"dog"}}


@pytest.mark.parametrize("kind", ["lists", "arrays", "columns", "floats"])
def test_parquet(tmp_path, kind):
    import numpy as np

    columns = {
        "lists": {"labels": [["1", "2"], ["2"]]},
        "arrays": {"labels": [np.array([1, 2]), np.array([2])]},
        "columns": {"1": [True, False], "2": [1, 1]},
        "floats": {"labels": ["1;2", "2"], "other": [1.0, None]},
    }[kind]
    pd.DataFrame({"image": ["a.jpg", "b.jpg"]} | columns).to_parquet(tmp_path / "labels.parquet")
    assert labels(tmp_path) == {"a": "1;2", "b": "2"}
    assert table_files(Data(source="photos", root=str(tmp_path))) == [str(tmp_path / "labels.parquet")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,labels\na.jpg,\"cat,dog\"\n", "label 'cat,dog', which may be several"),
        ("image,labels\na.jpg,cat|dog\n", "label 'cat|dog', which may be several"),
        ("image,labels\na.jpg,\"cat\ndog\"\n", "which may be several"),
        ("image,labels\na.jpg,cat dog\nb.jpg,dog cat\n", r"label 'cat dog'(.|\n)*`data.separator`"),
        ("image,labels\na.jpg,cat dog\nb.jpg,dog\nc.jpg,cat\n", "label 'cat dog'"),
        *((f"image,labels\na.jpg,cat{mark}dog\nb.jpg,dog\nc.jpg,cat\n", "which may be several") for mark in "/+-_&:"),
        ("image,labels\na.jpg,[0 1 1]\n", "line 2: labels"),
        ("image,labels\na.jpg,\"[['cat'], 'dog']\"\n", "line 2: labels"),
        ("image,labels\na.jpg,\"{'cat': 1}\"\n", "line 2: labels"),
        ("image,labels,labels\na.jpg,cat,dog\n", "'labels' once"),
        ("image,labels,\na.jpg,cat,dog\n", "line 2 has too many cells"),
        ("image,labels\n,cat\n", "line 2 without an image"),
        ("image,labels\na.jpg,\"cat\nb.jpg,dog\n", "unreadable: unexpected end"),
        ("image,label\na.jpg,1\n", r"also \['labels'\]"),
        ("image,cat,width\na.jpg,1,640\n", "other values in 'width'"),
        ("image,labels,split\na.jpg,cat,train\na.jpg,dog,val\n", "line 3: split 'val' for an image that has 'train'"),
        ("image,labels\nbl\xe4.jpg,cat\n".encode("cp1252"), "line 2: 'utf-8'"),
        ("image,labels\na.jpg,cat\n".encode("utf-16-le"), "NUL"),
        ("id,image,labels\n/x,a.jpg,cat\n", "id '/x' leads outside"),
        ("id,image,labels\nx/../y,a.jpg,cat\n", "id 'x/../y' leads outside"),
        ("id,image,labels\n\"x\ny\",a.jpg,cat\n", "control character"),
        ("id,image,labels\n" + "x" * 252 + ",a.jpg,cat\n", "more than 251 bytes"),
    ],
)  # fmt: skip
def test_tables_that_may_mean_two_things(tmp_path, text, message):
    with pytest.raises(SemplesError, match=message):
        listed(table(tmp_path / "zoo", text))


@pytest.mark.parametrize(("separator", "cell"), [(",", "red fox, dog"), ("|", "red fox|dog"), (" ", "fox  dog")])
def test_a_separator_of_the_settings(tmp_path, separator, cell):
    root = table(tmp_path / "zoo", f'image,labels\na.jpg,"{cell}"\nb.jpg,"[\'dog\']"\n')
    assert labels(root, separator=separator) == {
        "a": "red fox;dog".removeprefix("" if "red" in cell else "red "),
        "b": "dog",
    }


def test_labels_with_a_comma_or_a_blank_that_are_one(tmp_path):
    root = table(tmp_path / "zoo", 'image,labels\na.jpg,"cat, tabby"\nb.jpg,big cat\n')
    assert labels(root, separator=";") == {"a": "cat, tabby", "b": "big cat"}
    table(root, 'name\n"cat, tabby"\nbig cat\n', "classes.csv")
    assert labels(root) == {"a": "cat, tabby", "b": "big cat"}
    table(root, "name\ntabby\ncat\nbig cat\n", "classes.csv")
    assert labels(root) == {"a": "cat;tabby", "b": "big cat"}


def test_paths_with_backslashes_and_letters_of_other_systems(tmp_path):
    root = tree(tmp_path / "zoo", "sub/a.jpg", "u\u0308.jpg", "back\\slash.jpg")
    table(root, "image,labels\nsub\\a.jpg,dog\n\u00fc.jpg,dog\nback\\slash.jpg,dog\n")
    rows, _ = read_listing(Data(source="photos", root=str(root)))
    assert all(Path(row["image"]).exists() for row in rows)
    paths = [row[key] for row in rows for key in ("image", "mask")]
    assert unlisted_images(Data(source="photos", root=str(root)), paths) == []


def test_file_names_that_are_refused(tmp_path):
    tree(tmp_path, "dog/1.jpg", "dog/a\rb.jpg")
    with pytest.raises(SemplesError, match="control character"):
        listed(tmp_path)
    os.rename(tmp_path / "dog/a\rb.jpg", os.fsencode(tmp_path) + b"/dog/gar\xe7on.jpg")  # noqa: PTH104
    with pytest.raises(SemplesError, match="not UTF-8"):
        listed(tmp_path)


def load_photos(root: Path, **settings):
    classes, _ = load(Data(source="photos", root=str(root), **settings), root, 1)
    return classes


def load_photos_table(root: Path) -> pd.DataFrame:
    return load(Data(source="photos", root=str(root)), root, 1)[1]


@pytest.mark.parametrize("cell", [b"1.jpg", {"path": "1.jpg"}])
def test_parquet_of_other_types(tmp_path, cell):
    pd.DataFrame({"image": [cell], "labels": ["dog"]}).to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(SemplesError, match=r"labels.parquet\n  found:    unreadable: a column of (bytes|dict)"):
        listed(tmp_path)


def test_numbers_are_in_natural_order(tmp_path):
    names = [str(number) for number in range(1, 12)]
    lines = "".join(f"{name}.jpg,{name},m.png\n" for name in names)
    assert load_photos(table(tmp_path / "zoo", f"image,labels,mask\n{lines}")).names == tuple(names)
    with pytest.raises(SemplesError, match=r"masks, and the classes 1, 3(.|\n)*classes.csv"):
        load_photos(table(tmp_path / "zoo", "image,labels,mask\n1.jpg,1,m.png\n3.jpg,3,m.png\n"))


def test_background_in_a_classes_file(tmp_path, capsys):
    root = tree(tmp_path, "dog/1.jpg", "cat/2.jpg", "Background/3.jpg")
    assert load_photos(root).names == ("cat", "dog")
    assert "label 'Background' of 1 images is no class" in capsys.readouterr().out
    table(root, "name\n__ignore__\n_background_\ndog\ncat\nvoid\n", "classes.csv")
    assert load_photos(root).names == ("dog", "cat")
    assert "'_background_' is no class: left out" in capsys.readouterr().out
    for text in ("name\ndog\nbg\ncat\n", "name\ndog\ncat\nbackground\n"):
        table(root, text, "classes.csv")
        with pytest.raises(SemplesError, match="between classes"):
            load_photos(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,text\ndog,\xe4\n".encode("cp1252"), "line 2: 'utf-8'"),
        (b"", r"also \['name'\]"),
        (b"name,text\ndog,a,b,c\n", "line 2 has too many cells"),
        (b"name,text\n,a dog\n", "line 2 without a name"),
        (b"id,name\n0,dog\n1,cat\n", "index '0'"),
    ],
)
def test_classes_files_that_are_refused(tmp_path, text, message):
    root = table(tree(tmp_path, "dog/1.jpg"), text, "classes.csv")
    with pytest.raises(SemplesError, match=message):
        load_photos(root)


def test_two_spellings_and_a_class_without_training_images(tmp_path):
    with pytest.raises(SemplesError, match="classes 'Red_Fox' and 'red fox'"):
        load_photos(tree(tmp_path / "one", "red fox/1.jpg", "Red_Fox/2.jpg"))
    with pytest.raises(SemplesError, match="class 'cat' on no image of the split 'train'"):
        load_photos(tree(tmp_path / "two", "train/dog/1.jpg", "val/cat/2.jpg", "val/dog/3.jpg"))
    with pytest.raises(SemplesError, match=r"data.val\n  found:    split 'val' without an image"):
        load_photos(tree(tmp_path / "three", "train/dog/1.jpg", "test/dog/2.jpg"))
    assert load_photos(tree(tmp_path / "four", "K\u00e4fer/1.jpg", "Ka\u0308fer/2.jpg")).names == ("K\u00e4fer",)


def test_every_class_has_a_training_image(tmp_path):
    root = tree(tmp_path, *(f"{name}/{name}.jpg" for name in "abcdefghij"))
    rows = listed(root, val_fraction=0.5).values()
    assert {cell for split, cell in rows if "train" in split} == set("abcdefghij")
    assert any("val" in split for split, _ in rows)


def test_home_and_variables_in_data_root(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    tree(tmp_path / "zoo", "dog/1.jpg")
    for root in ("~/zoo", "$HOME/zoo", "${HOME}/zoo"):
        assert Data(source="photos", root=root).root == str(tmp_path / "zoo")


def test_names_as_long_as_files_can_have(tmp_path):
    images = load_photos_table(tree(tmp_path, f"dog/{'x' * 251}.jpg", "dog/-1.jpg"))
    assert sorted(images["id"]) == ["dog/-1", "dog/" + "x" * 251]
    assert not list(problems("here", images, Classes(("dog",), ("dog",), ("#000000",))))


def test_the_summary_of_a_data_set(tmp_path, capsys):
    root = table(tmp_path / "zoo", "image,labels,split,mask\na.jpg,dog,train,\nb.jpg,dog,val,m.png\n")
    table(root, "name\ncat\ndog\n", "classes.csv")
    tree(root, "c.jpg")
    load_data_set(Data(source="photos", root=str(root)), tmp_path, 1)
    assert capsys.readouterr().out.splitlines() == [
        "1 images that no line of the table names, such as c.jpg: left out",
        "split train: 1 images, 1 with labels, no masks, so it is not evaluated",
        "  index in masks, class and its images: 1 cat (0), 2 dog (1)",
        f"split val: 1 images, 1 with labels, 1 masks, such as {root}/m.png",
        "  index in masks, class and its images: 1 cat (0), 2 dog (1)",
        "on no image of the split train: cat",
    ]
