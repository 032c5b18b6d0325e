"""Somebody's own photographs: layouts, splits, odd files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from semples.config.settings import Data, Run, Settings
from semples.data.images import read_image, read_mask
from semples.data.importers.listing import list_images, masked_splits, table_files
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.stages import data


def photo(path: Path, size: tuple[int, int] = (20, 10), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 40).convert("RGB").save(path, **options)
    return path


def made(root: Path, out: Path, **settings) -> Manifest:
    """The manifest that `semples data` writes."""
    data.run(Settings(data=Data(source="photos", root=str(root), **settings), run=Run(threads=1)), out)
    return read_manifest(out / "manifest.csv")


@pytest.fixture
def labelled(tmp_path) -> Path:
    """A folder with labels.csv, three images and one mask."""
    root = tmp_path / "photos"
    for name in ("a.jpg", "sub folder/b.PNG", "sub folder/c.webp"):
        photo(root / name)
    Image.new("L", (20, 10), 2).save(root / "b mask.png")
    text = "\ufeffimage,labels,mask\na.jpg,dog; cat,\nsub folder/b.PNG,dog,b mask.png\nsub folder/c.webp,,\n"
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return root


def test_a_folder_with_labels(labelled, tmp_path):
    images = made(labelled, tmp_path / "out")
    assert images.classes.names == ("cat", "dog")
    assert images.table.set_index("id")["labels"].to_dict() == {
        "a": "cat;dog",
        "sub folder/b": "dog",
        "sub folder/c": "",
    }
    assert len(images.with_masks()) == 1
    assert all(Path(path).exists() for path in images.table["image"])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_that_lies_elsewhere(labelled, tmp_path, suffix):
    table = pd.DataFrame(
        {
            "image": [str(labelled / "a.jpg"), "photos/sub folder/b.PNG"],
            "labels": ["big_cat;dog", "dog"],
            "split": ["train", "val"],
            "id": ["one", None],
        }
    )
    path = tmp_path / f"mine.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    images = made(path, tmp_path / "out")
    assert images.table["split"].to_dict() == {0: "train", 1: "val"}
    assert images.table["id"].tolist() == ["one", "photos/sub folder/b"]
    assert images.classes.texts == ("big cat", "dog")


def test_a_folder_a_class(tmp_path):
    for name in ("red fox/1.jpg", "red fox/deep/er/2.TIF", "owl/1.bmp", "owl/notes.txt", "owl/._1.jpg", "loose.jpg"):
        if name.endswith(".txt"):
            (tmp_path / "zoo" / name).write_text("")
        else:
            photo(tmp_path / "zoo" / name)
    images = made(tmp_path / "zoo", tmp_path / "out").table.set_index("id")
    assert images["labels"].to_dict() == {
        "loose": "",
        "owl/1": "owl",
        "red fox/1": "red fox",
        "red fox/deep/er/2": "red fox",
    }


def test_equal_stems_keep_their_suffix(tmp_path):
    photo(tmp_path / "zoo/owl/1.jpg")
    photo(tmp_path / "zoo/owl/1.png")
    assert set(made(tmp_path / "zoo", tmp_path / "out").table["id"]) == {"owl/1.jpg", "owl/1.png"}


def test_an_id_cannot_lead_outside(labelled, tmp_path):
    photo(tmp_path / "elsewhere.jpg")
    (labelled / "labels.csv").write_text("image,labels\n../elsewhere.jpg,dog\na.jpg,dog\n")
    assert set(made(labelled, tmp_path / "out").table["id"]) == {"elsewhere", "a"}
    (labelled / "labels.csv").write_text("id,image,labels\n../../x,a.jpg,dog\n")
    with pytest.raises(SemplesError, match=r"id '../../x'"):
        made(labelled, tmp_path / "again")


def test_the_split_is_drawn_by_seed(tmp_path):
    for number in range(20):
        photo(tmp_path / f"zoo/owl/{number}.png", (2, 2))
    splits = [
        {row["id"]: row["split"] for row in list_images(Data(source="photos", root=str(tmp_path / "zoo"), **settings))}
        for settings in ({}, {}, {"seed": 1}, {"val_fraction": 0.5}, {"val_fraction": 0}, {"val_fraction": 0.99})
    ]
    assert splits[0] == splits[1] != splits[2]
    assert [list(images.values()).count("val") for images in splits] == [4, 4, 4, 10, 0, 19]
    assert set(splits[4].values()) == {"train;val"}


def test_one_image_and_one_class_are_enough(tmp_path):
    photo(tmp_path / "zoo/owl/only.jpg", (1, 1))
    images = made(tmp_path / "zoo", tmp_path / "out")
    assert images.table["split"].tolist() == ["train;val"]
    assert images.label_matrix().tolist() == [[1]]


def test_classes_of_a_file_give_order_text_and_colour(labelled, tmp_path):
    (labelled / "classes.csv").write_text("name,text,colour\ndog,a good dog,#102030\ncat,,\n")
    images = made(labelled, tmp_path / "out")
    assert images.classes.names == ("dog", "cat")
    assert images.classes.texts == ("a good dog", "cat")
    assert images.classes.palette()[1].tolist() == [16, 32, 48]
    assert images.table["labels"][0] == "dog;cat"
    (labelled / "classes.csv").write_text("name,colour\ndog,red\ncat,\n")
    with pytest.raises(SemplesError, match="colour 'red'"):
        made(labelled, tmp_path / "again")
    (labelled / "classes.csv").write_text("name\ndog\ncat\ndog\n")
    with pytest.raises(SemplesError, match="a class twice"):
        made(labelled, tmp_path / "again")
    (tmp_path / "other.csv").write_text("name\ndog\n")
    with pytest.raises(SemplesError, match=r"label 'cat'(.|\n)*one of the 1 classes: dog"):
        made(labelled, tmp_path / "again", classes=str(tmp_path / "other.csv"))


def test_which_splits_have_masks(labelled):
    settings = {"source": "photos", "root": str(labelled)}
    split = next(row["split"] for row in list_images(Data(**settings)) if row["mask"])
    assert masked_splits(Data(**settings)) == {split}
    (labelled / "labels.csv").write_text("image,labels\na.jpg,dog\n")
    assert masked_splits(Data(**settings)) == set()
    assert masked_splits(Data(source="photos", root="/no/such")) == set()
    assert masked_splits(Data(source="voc", train="train_aug")) == {"train_aug", "val"}


def test_which_files_the_manifest_follows(labelled, tmp_path):
    assert table_files(Data(source="photos", root=str(labelled))) == [str(labelled / "labels.csv")]
    (labelled / "classes.csv").write_text("name\ndog\ncat\n")
    whole = Data(source="photos", root=str(labelled / "labels.csv"))
    assert table_files(whole) == [str(labelled / "labels.csv"), str(labelled / "classes.csv")]
    assert (
        table_files(Data(source="photos", root=str(tmp_path / "nowhere")))
        == table_files(Data(source="voc", root="kit"))
        == []
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,labels\na.jpg,dog\n", r"columns \['labels', 'picture'\](.|\n)*also \['image'\]"),
        ("image,labels\n", "columns"),
        ("image,labels\na.jpg,dog,cat\n", r"line 2 has too many cells(.|\n)*';'"),
        ("image,labels\na.jpg,\n", "no label on any image"),
        ("image,labels\nno.jpg,dog\n", r"no\.jpg\n  found:    no such file"),
        ("image,labels,split\na.jpg,dog,train\n", r"data\.val\n  found:    split 'val' without an image"),
        ("image,labels\n\xe4.jpg,dog\n", "unreadable"),
    ],
)
def test_tables_that_cannot_be(labelled, tmp_path, text, message):
    (labelled / "labels.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(SemplesError, match=message):
        made(labelled, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_photographs_without_labels_or_none_at_all(tmp_path):
    photo(tmp_path / "zoo/1.jpg")
    with pytest.raises(SemplesError, match="1 photographs without labels"):
        made(tmp_path / "zoo", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SemplesError, match=r"empty\n  found:    no image"):
        made(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(SemplesError, match="a table"):
        made(tmp_path / "zoo/1.jpg", tmp_path / "out")


def test_large_photographs_are_worked_on_as_copies(labelled, tmp_path):
    before = (labelled / "a.jpg").read_bytes()
    images = made(labelled, tmp_path / "out", max_side=8).table.set_index("id")
    assert read_image(images["image"]["a"]).shape == (4, 8, 3)
    assert set(images["width"]) == {8}
    assert np.all(read_mask(images["mask"]["sub folder/b"], (4, 8)) == 2)
    assert (labelled / "a.jpg").read_bytes() == before
