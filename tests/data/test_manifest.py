"""The manifest: round trip, splits, labels, and clear errors."""

import pandas as pd
import pytest

from semples.data.manifest import COLUMNS, Classes, read_manifest, write_manifest
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
