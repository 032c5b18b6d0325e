"""`semples data check`: what it lists, what it counts, what it estimates."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from semples.cli import main
from semples.config.load import load
from semples.config.settings import Config
from semples.planning.cost import Size
from semples.tools.plan import Plan

BASE = {"run": {"device": "cpu", "threads": 1}, "generator": {"name": "conv_cam", "image_size": 64}}
BASE |= {"guide": {"model": "mini"}, "segment": {"encoder": "tu-resnet10t"}}


def checked(out: Path, **data) -> tuple[str, pd.DataFrame, dict]:
    """Report, problems and JSON of a data set."""
    assert main(["data", "check", "--config", json.dumps(BASE | {"data": data}), "--out", str(out)]) == 0
    assert not [path for path in out.parent.iterdir() if path.name.startswith("tmp")]
    with Image.open(out / "cooccurrence.png") as picture:
        assert min(picture.size) > 100
    text = (out / "check.md").read_text(encoding="utf-8")
    return text, pd.read_csv(out / "problems.csv"), json.loads((out / "check.json").read_text())


@pytest.fixture
def zoo(tmp_path) -> Path:
    """Four photographs with two masks: a duplicate, a missing file, a class too many, a photograph without a line."""
    root = tmp_path / "zoo"
    root.mkdir()
    for name in ("a", "b", "c", "unnamed"):
        Image.effect_noise((30, 20), 60).convert("RGB").save(root / f"{name}.png")
    shutil.copy(root / "a.png", root / "copy of a.png")
    Image.fromarray(np.array([[0, 1], [2, 255]], np.uint8).repeat(10, 0).repeat(15, 1)).save(root / "b mask.png")
    Image.new("L", (30, 20), 9).save(root / "c mask.png")
    lines = ["a.png,dog,,train", "copy of a.png,dog,,val", "b.png,cat,b mask.png,val", "c.png,dog;cat,c mask.png,train"]
    (root / "labels.csv").write_text("\n".join(["image,labels,mask,split", *lines, "gone.png,dog,,train"]))
    return root


def test_everything_wrong_is_listed(zoo, tmp_path):
    text, problems, found = checked(tmp_path / "check", source="photos", root=str(zoo))
    kinds = problems.groupby("kind")["where"].apply(list).to_dict()
    assert kinds == {
        "duplicate": ["a"],
        "labels and mask differ": ["b"],
        "missing or unreadable": ["c", "gone"],
        "not in the table": ["unnamed.png"],
    }
    what = problems.set_index("where")["what"]
    assert what["a"] == "copy of a (val); itself train"
    assert what["b"] == "only mask: dog"
    assert "value 9" in what["c"]
    assert "no such file" in what["gone"]
    assert found["images"] == 5
    assert found["counts"] == {
        "train": {"cat": 0, "dog": 1, "any class": 1, "all images": 1},
        "val": {"cat": 1, "dog": 1, "any class": 2, "all images": 2},
    }
    assert "an estimate, not a measurement" in text


def test_every_odd_file_works_or_is_listed(odd_files, tmp_path):
    _, problems, found = checked(tmp_path / "check", source="photos", root=str(odd_files))
    listed = problems.set_index("where")["kind"]
    bad = {"owl/empty", "owl/text", "owl/truncated", "owl/float", "fox/broken link"}
    assert set(listed[listed == "missing or unreadable"].index) == bad
    assert set(listed[listed == "duplicate"].index) == {"fox/link", "fox/ordinary"}  # the same bytes in owl
    counted = sum(split["all images"] for split in found["counts"].values())
    assert counted == found["images"] - len(bad)


def test_real_photographs(shared, tmp_path):
    _, problems, found = checked(tmp_path / "check", source="voc", root=str(shared / "data/VOCdevkit"))
    assert problems.empty
    assert found["images"] == 632
    assert np.array(found["cooccurrence"]).diagonal().sum() > 632
    _, problems, _ = checked(
        tmp_path / "again", source="voc", root=str(shared / "data/VOCdevkit"), difficult="excluded"
    )
    assert set(problems["kind"]) == {"labels and mask differ"}
    assert problems["what"].str.startswith("only mask: ").all()


def test_the_assumed_speeds_are_near_those_of_a_demo():
    """Seconds of the jobs of the miniature on a Zen 4 processor, of which the assumed speeds are."""
    estimates = Plan(load({"preset": "mini"}), Size(1200, 300, 4096, 1.287, 6), "cpu").rows().set_index("stage")
    seconds = estimates["hours"] * 3600 / estimates["jobs"]
    for stage, measured in {"classify": 108, "slm": 94, "csr": 91, "cams": 11, "crf": 12, "segment": 72}.items():
        assert measured / 1.5 < seconds[stage] < 1.5 * measured, stage


def test_a_classifier_that_learns_its_head_alone_costs_less():
    size = Size(10582, 1449, 187500, 1.5, 20)
    configs = [load({"preset": "voc12", "classify": {"trainable": part}}) for part in ("head", "all")]
    head, whole = (Plan(config, size, "cuda").rows().set_index("stage").loc["classify"] for config in configs)
    assert head["hours"] == pytest.approx(whole["hours"] / 3, rel=0.05)
    assert head["GPU GB"] < whole["GPU GB"]


def test_shared_stages_count_once_and_seeds_multiply():
    size = Size(10582, 1449, 187500, 1.5, 20)
    configs = [load({"preset": "voc12", "seeds": list(range(count))}) for count in (1, 3)]
    one, three = (Plan(config, size, "cuda").rows().set_index("stage") for config in configs)
    assert one["jobs"].to_dict() == {
        **{"weights": 2, "data": 1, "guide": 1, "classify": 1, "slm": 1, "cpl": 2, "csr": 2},
        **{"cams": 4, "crf": 4, "segment": 4, "segment_masks": 4},
    }
    one, three = (table.drop(["weights", "data", "guide"]) for table in (one, three))
    assert three["hours"].to_numpy() == pytest.approx(3 * one["hours"].to_numpy())
    assert (one.loc["classify":"cams", "GPU GB"] > 0.5).all()


def test_joint_rounds_and_own_generators_are_estimated(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text("from semples.models.generators import ConvCam\n\n\nclass Mine(ConvCam):\n    pass\n")
    variants = {"joint": {"masks_from": "joint"}, "rounds": {"rounds": 3}}
    settings = load({"preset": "mini"}).model_dump() | {
        "experiments": variants,
        "generator": {"name": f"{own}:Mine", "image_size": 64},
    }
    estimates = Plan(Config(**settings), Size(100, 10, 4096, 1.3, 6), "cpu").rows().set_index("stage")
    assert estimates["jobs"][["slm", "cpl", "csr", "joint", "cams"]].to_dict() == {
        "slm": 1,
        "cpl": 3,
        "csr": 3,
        "joint": 1,
        "cams": 2,
    }
    assert (estimates["hours"] > 0).all()
