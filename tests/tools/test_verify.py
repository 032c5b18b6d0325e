"""`semples verify`: what two results folders hold, whatever their bytes, times and machines."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from semples.cli import main
from semples.stages.tables.formats import write


def write_run(folder, weight=1.0, score=0.5, pixel=1, miou=0.5, note="A note.", seconds=1):
    """Draw a results folder with a file of each kind."""
    seed = folder / "slm/slm/seed0"
    for name in ("data", "slm/slm/seed0/checkpoints", "cams/slm/seed0", "crf/slm/seed0/masks", "evaluate/slm/seed0"):
        (folder / name).mkdir(parents=True)
    save_file(
        {"a": torch.full((2, 3), weight), "b": torch.ones(2, dtype=torch.bfloat16)},
        seed / "model.safetensors",
        {"command": "semples slm", "machine": f"{seconds}"},
    )
    (seed / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "loss": 0.25, "images_per_s": seconds}) + "\n")
    (seed / "checkpoints/last.ckpt").write_text(f"{seconds}")
    with h5py.File(folder / "cams/slm/seed0/cams.h5", "w") as file:
        file["images/a/score"] = np.full((1, 2, 2), score, np.float16)
        file["ids"] = np.array([b"a"])
        file.attrs["format"] = "semples.cams"
        file["images"].attrs["machine"] = f"{seconds}"
    image = Image.fromarray(np.full((4, 4), pixel, np.uint8), mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(folder / "crf/slm/seed0/masks/a.png", compress_level=seconds)
    (folder / "evaluate/slm/seed0/crf.json").write_text(
        json.dumps({"miou": miou, "machine": f"{seconds}"}, indent=seconds)
    )
    (folder / "data/manifest.csv").write_text(f"id,image,labels\na,{folder}/a.jpg,dog\n")
    write(pd.DataFrame({"a": ["1.0"]}), folder / "tables", "table_3", "T", f"{note}\nMade on: {seconds}.\n")
    (folder / "tables/table_9.csv").write_text(f"{seconds}\n")
    for name in ("logs/slm.log", "benchmarks/slm.tsv", ".semples"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"{seconds}\n")
    return folder


def verify(first, second, capsys):
    code = main(["verify", str(first), str(second)])
    return code, "".join(capsys.readouterr())


def test_times_machines_paths_and_compression_do_not_count(tmp_path, capsys):
    code, text = verify(write_run(tmp_path / "a"), write_run(tmp_path / "b", seconds=2), capsys)
    assert (code, "9 of 9 files in both are equal" in text) == (0, True), text


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"weight": 1.25}, "slm/slm/seed0/model.safetensors: 1 of 3 parts differ; largest difference 0.25 in a"),
        ({"score": 0.75}, "cams/slm/seed0/cams.h5: 1 of 3 parts differ; largest difference 0.25 in images/a/score"),
        ({"pixel": 0}, "crf/slm/seed0/masks/a.png: 1 of 3 parts differ; largest difference 1 in pixels"),
        ({"miou": 0.75}, "evaluate/slm/seed0/crf.json: 1 of 1 parts differ; largest difference 0.25 in miou"),
        ({"miou": None}, "evaluate/slm/seed0/crf.json: 1 of 1 parts differ; miou: 0.5 | None"),
        ({"miou": float("nan")}, "evaluate/slm/seed0/crf.json: 1 of 1 parts differ; miou: 0.5 | nan"),
        ({"note": "Another."}, "tables/table_3.md: 1 of 1 parts differ"),
    ],
)
def test_a_difference_is_named_with_its_size(tmp_path, capsys, change, line):
    code, text = verify(write_run(tmp_path / "a"), write_run(tmp_path / "b", **change), capsys)
    assert code == 1
    assert line in text
    assert "0 are in one alone" in text


def test_files_of_one_folder_are_listed(tmp_path, capsys):
    first, second = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    (second / "crf/slm/seed0/masks/b.png").write_bytes(b"")
    (first / "data/manifest.csv").unlink()
    code, text = verify(first, second, capsys)
    assert code == 1
    assert f"only in {first}" not in text
    assert f"only in {second}: crf/slm/seed0/masks/b.png\nonly in {second}: data/manifest.csv" in text
    assert "8 of 8 files in both are equal, 2 are in one alone" in text


def test_shapes_columns_and_missing_values_differ(tmp_path, capsys):
    first, second = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    save_file({"a": torch.zeros(3, 2)}, second / "slm/slm/seed0/model.safetensors")
    (second / "data/manifest.csv").write_text("id,image,labels,more\na,x/a.jpg,cat,1\n")
    text = verify(first, second, capsys)[1]
    assert "model.safetensors: 3 of 3 parts differ" in text
    assert "manifest.csv: 2 of 4 parts differ" in text


@pytest.mark.parametrize(
    "name",
    [
        "cams/slm/seed0/cams.h5",
        "slm/slm/seed0/model.safetensors",
        "crf/slm/seed0/masks/a.png",
        "evaluate/slm/seed0/crf.json",
    ],
)
def test_a_truncated_file_is_one_clear_error(tmp_path, capsys, name):
    first, second = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    data = (second / name).read_bytes()
    (second / name).write_bytes(data[: len(data) // 2])
    code, text = verify(first, second, capsys)
    assert code == 1
    assert f"{second / name}\n  found:    unreadable" in text


def test_a_folder_that_is_none_is_an_error(tmp_path, capsys):
    code, text = verify(write_run(tmp_path / "a"), tmp_path / "none", capsys)
    assert (code, "no such folder" in text) == (1, True)
