"""A few drawn pictures with their true masks in the place of pseudo masks, and a small network's settings."""

import json
from pathlib import Path
from shutil import copyfile

import pytest

from semples.cli import main
from semples.data.manifest import read_manifest
from semples.files import write_json

NETWORK = {"encoder": "tu-resnet10t", "weights": "none", "decoder_channels": 16, "optimizer": "adamw"}
LEARNING = {"epochs": 1, "batch": 4, "crop": 64, "lr": 2e-3, "head_lr_factor": 1, "test_scales": [1.0]}


@pytest.fixture(scope="session")
def segment_settings():
    """A function that gives the settings of a small segmentation as JSON, `segment` laid over."""

    def settings(**segment) -> str:
        data = {"source": "mini", "scenes": {"train": 4, "val": 4}}
        run = {"device": "cpu", "threads": 1}
        chosen = {"segment": {**NETWORK, **LEARNING, **segment}, "figures": {"images": 1}}
        return json.dumps({"run": run, "precision": "32-true", "data": data, **chosen})

    return settings


@pytest.fixture(scope="session")
def drawn(tmp_path_factory, segment_settings) -> Path:
    """A folder with data/manifest.csv of four pictures a split, and masks/<id>.png of the training ones."""
    folder = tmp_path_factory.mktemp("drawn")
    assert main(["data", "--config", segment_settings(), "--out", str(folder / "data")]) == 0
    (folder / "masks").mkdir()
    for row in read_manifest(folder / "data/manifest.csv").split("train").table.itertuples():
        copyfile(row.mask, folder / "masks" / f"{row.id}.png")
    write_json(folder / "masks/provenance.json", {"packages": "drawn"})
    return folder


@pytest.fixture(scope="session")
def trained(drawn, segment_settings) -> Path:
    """The outputs of `semples segment` after one epoch and of `semples segment_masks`, in predictions."""
    flags = ("--manifest", drawn / "data/manifest.csv", "--masks", drawn / "masks", "--out", drawn / "segment")
    assert main(["segment", "--config", segment_settings(), *map(str, flags)]) == 0
    flags = ("--manifest", drawn / "data/manifest.csv", "--checkpoint", drawn / "segment/model.safetensors")
    out = ("--out", drawn / "segment/predictions")
    assert main(["segment_masks", "--config", segment_settings(), *map(str, (*flags, *out))]) == 0
    return drawn / "segment"
