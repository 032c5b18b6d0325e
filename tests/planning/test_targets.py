"""Jobs are counted as Snakemake counts them, and the modules that it imports while it plans need little."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from semples.config.load import load
from semples.config.variants import merge
from semples.errors import SemplesError
from semples.planning.targets import Targets

ROOT = Path(__file__).parents[2]
STAGES = (
    "data",
    "weights",
    "guide",
    "classify",
    "slm",
    "cpl",
    "csr",
    "joint",
    "cams",
    "refine",
    "evaluate_refine",
    "crf",
    "segment",
    "segment_masks",
)
SCHEMES = {"joint": {"masks_from": "joint"}, "rounds": {"rounds": 2}, "truth": {"segment": {"labels": "truth"}}}
SCHEMES |= {"guide": {"masks_from": "guide"}, "foreign": {"masks_from": "foreign", "foreign": {"path": "config.yaml"}}}
SCHEMES |= {"guided": {"cpl": {"start": "guide"}}, "fused": {"cams": {"fuse": "product"}}}
SCHEMES |= {"unsegmented": {"segment": {"network": "none"}}}
SCHEMES |= {"pixels": {"refine": {"kind": "superpixels"}}, "sam": {"refine": {"kind": "sam"}}}


@pytest.mark.parametrize("target", ["all", "results", "tables", "figures"])
def test_jobs_are_those_of_a_dry_run(tmp_path, target):
    config = {"preset": "mini", "seeds": [0, 1], "experiments": SCHEMES}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    assert counted(config, target) == planned(tmp_path, target)


@pytest.mark.parametrize("masks", [(), ("train",), ("val",)], ids=["none", "train", "val"])
def test_jobs_of_photographs_follow_their_masks(tmp_path, masks):
    rows = [f"{split}.png,{split},dog,{'mask.png' if split in masks else ''}" for split in ("train", "val")]
    (tmp_path / "labels.csv").write_text("\n".join(["image,split,labels,mask", *rows]), encoding="utf-8")
    config = {"preset": "photos", "data": {"root": str(tmp_path)}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert counted(config, "all") == planned(tmp_path, "all")


def counted(config: dict, target: str) -> dict[str, int]:
    """Jobs of every rule by our own count."""
    jobs = {rule: len(outputs) for rule, outputs in Targets(load(config)).jobs([target]).items()}
    return {"evaluate_cams" if rule == "evaluate" else rule: count for rule, count in jobs.items() if count}


def planned(folder: Path, target: str) -> dict[str, int]:
    """Jobs of the same rules by a dry run."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow" / "Snakefile", "--dry-run", target]
    done = subprocess.run([*command, "--cores", "1"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    jobs = re.findall(r"^(\w+)\s+(\d+)$", f"{done.stdout}\n{done.stderr}", flags=re.MULTILINE)
    return {rule: int(n) for rule, n in jobs if rule in (*STAGES, "evaluate_cams", "evaluate_masks")}


def test_a_job_alone_takes_the_cores_but_no_more_than_pay_off():
    targets = Targets(load({"preset": "mini"}))
    assert [targets.threads("classify", "csr-learned", cores) for cores in (1, 2, 64)] == [1, 2, 8]
    assert targets.threads("slm", "slm", 64) == 1
    assert Targets(load({"preset": "mini", "run": {"threads": 16}})).threads("classify", "slm", 64) == 16


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"selection": {"policy": "oracle"}}, "selection.policy"),
        ({"crf": {"threshold": {"policy": "held-out"}}}, "crf.threshold.policy: fixed"),
        ({"segment": {"labels": "truth"}}, "segment.labels: pseudo"),
        ({"run": {"shards": 3}}, "run.shards"),
        ({"segment": {"weights": "./none.pth"}}, "none.pth"),
        ({"cpl": {"start": "cams/of.h5"}}, "cams/of.h5"),
        ({"masks_from": "foreign", "foreign": {"path": "maps/{seed}.h5"}}, "maps/0.h5"),
        ({"generator": {"name": "mine.py:Mine", "weights": "none"}}, "mine.py"),
        ({"data": {"root": "ph{1}"}}, "braces"),
    ],
)
def test_what_a_late_stage_would_refuse_is_refused_while_planning(tmp_path, monkeypatch, settings, words):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "photos", tmp_path / "ph{1}"):
        folder.mkdir()
        rows = ["image,split,labels", "a.png,train,dog", "b.png,train,cat", "c.png,val,dog"]
        (folder / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
        for row in rows[1:]:
            cv2.imwrite(str(folder / row[:5]), np.full((20, 30, 3), 90, np.uint8))
    own = {"preset": "photos", "data": {"root": "photos"}}
    Targets(load(own)).require_inputs()
    with pytest.raises(SemplesError) as error:
        Targets(load(merge(own, settings))).require_inputs()
    assert words in str(error.value)


def test_the_legend_of_a_table_names_the_epochs_behind_its_columns():
    targets = Targets(load({"preset": "voc12_fast", "data": {"root": "VOCdevkit"}}))
    assert targets.table_spec("table_1")["note"].endswith("Epochs: classify 20, slm 15, cpl 15, csr 15.")
    assert targets.table_spec("table_2")["note"].endswith("Epochs: classify 20, slm 15, cpl 15, csr 15, segment 15.")
    own = {"joint": {"masks_from": "joint", "csr": {"epochs": 6}}, "csr-manual": {"csr": {"epochs": 5}}}
    own |= {"csr-learned": {}, "classifier": None, "slm": None}
    targets = Targets(
        load({"preset": "mini", "classify": {"epochs": 12}, "slm": {"epochs": 4}, "experiments": own, "tables": {}})
    )
    assert targets.note(["joint", "csr-manual"], ["cams"]).endswith("Epochs: classify 12, slm 4, csr 5, joint 6.")
