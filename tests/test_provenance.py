"""The machine beside a record: processor, vectors and threads, which refuse no shard and stand under the tables."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from semples import provenance
from semples.data.cam_file import CamFile, CamWriter, join_shards
from semples.errors import SemplesError
from semples.files import write_json
from semples.stages import join
from semples.stages.tables import evaluations, results
from semples.weights.tensor_file import save_tensors

INTEL = "processor : 0\nmodel name\t: Some Xeon\nflags\t\t: sse4_2 avx avx2 avx512f avx512bw\n\nprocessor : 1\n"


@pytest.mark.parametrize(
    ("info", "text"),
    [
        (INTEL, "Some Xeon, AVX-512, 2 threads"),
        (INTEL.replace("avx512f avx512bw", ""), "Some Xeon, AVX2, 2 threads"),
        ("processor : 0\nFeatures\t: fp asimd\n", "arm64, NEON, 2 threads"),
        (None, "arm64, 2 threads"),
    ],
)
def test_processor_and_vectors_are_read_from_the_system(tmp_path, monkeypatch, info, text):
    path = tmp_path / "cpuinfo"
    if info is not None:
        path.write_text(info)
    monkeypatch.setattr(provenance, "Path", lambda _: path)
    monkeypatch.setattr(provenance.platform, "machine", lambda: "arm64")
    assert provenance.machine(2) == {"machine": text}


def write_shard(path, image, **record):
    path.parent.mkdir(parents=True, exist_ok=True)
    with CamWriter(path, ["dog"], [image], "float16", {"command": "semples cams", **record}) as file:
        file.add(image, np.zeros((1, 2, 2)), np.array([0]), 8, 8)
    return path


def test_shards_of_two_machines_are_one_file_and_of_two_runs_are_not(tmp_path):
    shards = [write_shard(tmp_path / f"shards/{name}.h5", name, machine=name) for name in ("a", "b")]
    join_shards(shards, tmp_path / "cams.h5")
    with CamFile(tmp_path / "cams.h5") as file:
        assert file.ids == ["a", "b"]
    other = write_shard(tmp_path / "shards/c.h5", "c", weights="others")
    with pytest.raises(SemplesError, match="another run"):
        join_shards([*shards, other], tmp_path / "wrong.h5")


def test_masks_of_two_machines_join(tmp_path):
    for name in ("a", "b"):
        write_json(tmp_path / name / "provenance.json", {"command": "semples crf", "machine": name})
        (tmp_path / name / f"{name}.png").write_bytes(b"")
    join.run([tmp_path / "a", tmp_path / "b"], tmp_path / "masks")
    assert (tmp_path / "masks/b.png").exists()
    write_json(tmp_path / "b" / "provenance.json", {"command": "semples crf", "cams": "others"})
    with pytest.raises(SemplesError, match="another run"):
        join.run([tmp_path / "a", tmp_path / "b"], tmp_path / "masks")


def test_tables_name_the_machines_in_a_column_and_a_note(tmp_path):
    numbers = {"kind": "crf", "split": "train", "images": 1, "packages": "torch 2", "miou": 0.5, "classes": {"dog": {}}}
    rows = []
    for seed, machine in enumerate(["A, AVX2, 2 threads", "B, AVX-512, 2 threads", ""]):
        (tmp_path / f"{seed}.json").write_text(json.dumps(numbers | {"machine": machine} if machine else numbers))
        rows.append(("csr", seed, tmp_path / f"{seed}.json"))
    results.run(rows, "", tmp_path)
    assert "Made on: A, AVX2, 2 threads; B, AVX-512, 2 threads." in (tmp_path / "results.md").read_text()
    assert ",machine," in (tmp_path / "results.csv").read_text()
    frame = evaluations.read_evaluations(rows[2:])
    assert "Made on" not in evaluations.packages_note(frame)  # of an older version


def test_equal_tensors_and_records_give_equal_bytes(tmp_path):
    tensors = {name: torch.arange(6.0).reshape(2, 3) for name in ("b", "a")}
    record = {f"key {k}": f"“text” {k}\n\x1f\x7f😀\\" for k in range(20)}
    files = []
    for k in range(5):
        path = tmp_path / f"{k}.safetensors"
        save_tensors(tensors, path, record)
        files.append(path.read_bytes())
    assert len(set(files)) == 1
    with safe_open(path, "pt") as file:
        assert file.metadata() == record
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in tensors.items())
    save_tensors(tensors, path, {})
    assert load_file(path).keys() == tensors.keys()
