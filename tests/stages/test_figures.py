"""Figures: what they are drawn from, PNG and PDF together, and the rules by which images are chosen."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from semples import figure_style
from semples.cli import main
from semples.data.cam_file import CamWriter
from semples.data.images import read_mask
from semples.data.manifest import read_manifest
from semples.errors import SemplesError
from semples.stages.figures import confusions, curves, panels


@pytest.fixture
def cams(miniature, tmp_path):
    """An HDF5 file of maps equal to the true masks, but for the last image, whose maps are turned around."""
    images = read_manifest(miniature).split("train").with_labels()
    rows = list(zip(images.table.itertuples(), images.label_matrix(), strict=True))
    path = tmp_path / "cams.h5"
    with CamWriter(path, images.classes.names, images.table["id"].tolist(), "float16", {}) as file:
        for row, labels in rows:
            truth, present = read_mask(row.mask), np.flatnonzero(labels)
            maps = np.stack([truth == k + 1 for k in present]).astype(np.float32)
            turned = 1 - maps if row is rows[-1][0] else maps
            file.add(row.id, turned, present, *truth.shape)
    return path


def test_best_and_worst_are_by_the_last_variant(miniature, cams):
    images = read_manifest(miniature).split("train").with_labels()
    scores = panels._scores(images, cams, 0.5)
    last = images.table["id"].iloc[-1]
    assert scores.idxmin() == last
    assert (scores.drop(last) == 1).all()
    assert scores[last] < 0.1


def test_a_comparison_names_its_rule_at_every_row(miniature, cams, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(panels, "save_grid", lambda rows, out, names: drawn.update(rows=rows, names=names))
    flags = ["--manifest", str(miniature), "--split", "train", "--cams", f"a={cams}", f"b={cams}", "--threshold", "0.5"]
    config = json.dumps({"figures": {"images": 6}})
    assert main(["figures", "comparison", "--config", config, *flags, "--out", str(tmp_path / "c.png")]) == 0
    assert [name.split(",")[0] for name in drawn["names"]] == ["random"] * 2 + ["best"] * 2 + ["worst"] * 2
    assert list(drawn["rows"][0]) == ["image", "ground truth", "a", "b"]


def test_masks_that_are_the_truth_confuse_nothing(miniature, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(confusions, "_draw", lambda share, names, out: drawn.append(share))
    images = read_manifest(miniature).split("val")
    for row in images.table.itertuples():
        Image.open(row.mask).save(tmp_path / f"{row.id}.png")
    confusions.run(miniature, "val", tmp_path, tmp_path / "c.png")
    there = drawn[0].sum(axis=1) > 0
    assert np.array_equal(drawn[0][there][:, there], np.eye(there.sum()))


def test_masks_of_another_split_are_an_error(miniature, tmp_path):
    with pytest.raises(SemplesError, match="no mask of split 'val'"):
        confusions.run(miniature, "val", tmp_path, tmp_path / "c.png")


def test_a_table_without_a_sweep_has_no_sensitivity(tmp_path):
    (tmp_path / "t.csv").write_text("row,setting,value,measure,mean,sd\na,,,CAM,50,\n")
    with pytest.raises(SemplesError, match="sweeps"):
        curves.run_sensitivity([tmp_path / "t.csv"], tmp_path / "s.png")


def test_a_sweep_of_words_is_drawn_without_lines(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, out: drawn.append(figure))
    lines = ["row,setting,value,measure,mean,sd", "a,csr.w_bg,1,CAM,50,", "b,csr.w_bg,2,CAM,52,"]
    lines += ["c,csr.trainable,head,CAM,49,", "d,csr.trainable,all,CAM,51,", "e,,,CAM,48,"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    curves.run_sensitivity([tmp_path / "t.csv"], tmp_path / "s.png")
    numbers, words = drawn[0].axes
    assert numbers.lines[0].get_linestyle() == "-"
    assert words.lines[0].get_linestyle() == "None"
    assert [label.get_text() for label in words.get_xticklabels()] == ["head", "all"]


def test_png_and_pdf_lie_side_by_side_and_are_the_same_again(tmp_path):
    words = [f"boat,nearest,{rank},{word},{0.5 - 0.1 * rank},0" for rank, word in enumerate(["sea", "pier", "sky"])]
    (tmp_path / "words.csv").write_text("\n".join(["class,list,rank,word,cosine,lift", *words]))
    made = []
    for _ in range(2):
        curves.run_prompts(tmp_path / "words.csv", {"": ["sea"]}, tmp_path / "p.png")
        made.append([(tmp_path / f"p.{kind}").read_bytes() for kind in ("png", "pdf")])
    assert made[0] == made[1]
    assert made[0][1].startswith(b"%PDF")


def test_titles_wrap_between_words():
    assert figure_style.wrap_title("a pseudo mask", 0.5) == "a pseudo\nmask"
    assert figure_style.wrap_title("indivisible", 0.1) == "indivisible"


def test_names_with_a_dollar_are_no_formulas(tmp_path):
    words = pd.DataFrame(
        {"class": "$cat_", "list": "nearest", "rank": 1, "word": ["$\\frac{"], "cosine": 0.5, "lift": 0}
    )
    words.to_csv(tmp_path / "words.csv", index=False)
    curves.run_prompts(tmp_path / "words.csv", {}, tmp_path / "p.png")
    confusions._draw(np.eye(2), ("background", "$x_{"), tmp_path / "c.png")
    assert (tmp_path / "c.pdf").exists()
