"""CSV files with hostile names: nothing that a spreadsheet computes, and the same table again."""

import csv
import re

import pandas as pd
import pytest

from semples.data.csv_file import WORDS, read_csv, write_csv
from semples.data.manifest import Classes, read_manifest, write_manifest
from semples.errors import SemplesError

pytestmark = pytest.mark.fault("hostile inputs refused")

HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "'=1",
    "''-1",
    "cat;=HYPERLINK(1)",
    "plain",
    "a=b",
    "'quoted'",
    "NA",
    "",
]


def test_no_cell_is_a_formula_and_reading_gives_the_names_again(tmp_path):
    frame = pd.DataFrame({"name": HOSTILE, "number": [-1.5] * len(HOSTILE)})
    write_csv(tmp_path / "t.csv", frame)
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row[0].split(";")]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))]
    again = read_csv(tmp_path / "t.csv", "data", ["name"], ["number"])
    assert list(again["name"].fillna("")) == HOSTILE
    assert set(again["number"]) == {-1.5}  # a number is no text


def test_names_that_look_like_numbers_or_nothing_stay_names(tmp_path):
    write_csv(
        tmp_path / "w.csv",
        pd.DataFrame({"class": ["1", "null"], "list": "nearest", "word": ["nan", "07"], "cosine": 0.5, "lift": -0.5}),
    )
    frame = read_csv(tmp_path / "w.csv", "cpl", *WORDS)
    assert frame["class"].tolist() == ["1", "null"]
    assert frame["word"].tolist() == ["nan", "07"]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"a,b\n1,2\n", b"class,list,word,cosine,lift\na,nearest,b,high,0\n", b'"a\n']
)
def test_another_file_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "w.csv").write_bytes(content)
    with pytest.raises(SemplesError, match=r"w\.csv"):
        read_csv(tmp_path / "w.csv", "cpl", *WORDS)


def test_a_folder_in_the_place_of_a_file_is_an_error(tmp_path):
    with pytest.raises(SemplesError, match="unreadable"):
        read_csv(tmp_path, "cpl", *WORDS)


def test_a_manifest_with_hostile_names_is_read_as_it_was_written(tmp_path):
    classes = Classes(("=1+1", "-cat", "@dog"), ("a cat", "=2", "dog"), ("#000001", "#000002", "#000003"))
    row = {"id": "-a/=b", "image": "=photo.jpg", "mask": "", "split": "train;-val", "width": 4, "height": 3}
    table = pd.DataFrame([row | {"labels": "-cat;=1+1"}])
    write_manifest(tmp_path / "manifest.csv", table, classes)
    for name in ("manifest.csv", "classes.csv"):
        cells = [cell for line in (tmp_path / name).read_text().splitlines() for cell in re.split("[,;]", line)]
        assert not [cell for cell in cells if cell.startswith(tuple("=+-@"))]
    images = read_manifest(tmp_path / "manifest.csv")
    assert images.classes == classes
    columns = ["id", "mask", "split", "width", "height", "labels"]
    assert images.table[columns].to_dict("records") == table[columns].to_dict("records")
    assert images.table["image"].tolist() == [str(tmp_path / "=photo.jpg")]
