"""What several tests need: a small data set, a small guide, and the real photographs where they are."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import open_clip
import pandas as pd
import pytest
import shape_checks  # noqa: F401  (before semples is imported)
import torch
from fault_totals import pytest_runtest_makereport, pytest_terminal_summary  # noqa: F401
from hypothesis import HealthCheck, settings
from odd_files import write_odd_files
from open_clip.model import CLIP

os.environ["SEMPLES_MATMUL"] = "onednn"  # no test depends on which library this processor is faster with

from semples.data.importers import mini
from semples.data.manifest import Classes, read_manifest, write_manifest
from semples.models.guide import Guide
from semples.planning import speed

# How many inputs Hypothesis draws: few in `make test`, many in `make faults`.
LAX = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile("tests", max_examples=40, derandomize=True, **LAX)
settings.register_profile("faults", max_examples=1000, **LAX)
settings.load_profile("tests")

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that run whole workflows first: side by side with all others they end sooner than after them."""
    items.sort(key=lambda item: item.path.parent.name not in ("workflow", "runtime"))


@pytest.fixture(autouse=True)
def cached_speeds(monkeypatch, tmp_path_factory) -> Path:
    """The folder of measured speeds, instead of the user's: empty, so that estimates are those of any machine."""
    folder = tmp_path_factory.getbasetemp() / f"speeds-{os.urandom(4).hex()}"
    monkeypatch.setattr(speed, "cache_file", lambda name, *_: folder / name)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs and weights beside the repository; tests that need it skip without it."""
    if not (SHARED / "data" / "VOCdevkit").is_dir():
        pytest.skip("the real photographs (../shared/data) are not here")
    return SHARED


@pytest.fixture(scope="session")
def odd_files(tmp_path_factory) -> Iterator[Path]:
    """A folder of the classes owl and fox with photographs of every odd kind; nobody may write there."""
    root = write_odd_files(tmp_path_factory.mktemp("my photos"))
    for path in [root, *root.rglob("*")]:
        if path.is_dir():
            path.chmod(0o555)
    yield root
    for path in [root, *root.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)


@pytest.fixture(scope="session")
def miniature(tmp_path_factory) -> Path:
    """manifest.csv of 24 + 8 drawn pictures."""
    folder = tmp_path_factory.mktemp("mini") / "data"
    write_manifest(folder / "manifest.csv", mini.table(folder, {"train": 24, "val": 8}, 0), mini.CLASSES)
    return folder / "manifest.csv"


@pytest.fixture(scope="session")
def tiny_guide() -> Guide:
    """A random CLIP with the standard tokenizer, small enough for a step in milliseconds."""
    torch.manual_seed(0)
    vision = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}
    text = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    clip = CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text)
    clip.visual.image_mean, clip.visual.image_std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    return Guide(clip, open_clip.SimpleTokenizer(context_length=24))


@pytest.fixture
def odd_photos(tmp_path) -> Path:
    """manifest.csv of three labelled images of three sizes, with masks, in two classes."""
    rng = np.random.default_rng(0)
    rows = []
    for number, (height, width) in enumerate([(40, 50), (33, 64), (48, 31)]):
        name = f"odd {number}"
        mask = np.zeros((height, width), np.uint8)
        mask[5:20, 5:20] = 1 + number % 2
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 255, (height, width, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f"{name} mask.png"), mask)
        labels = ["dog", "cat"][number % 2]
        rows.append([name, f"{name}.png", f"{name} mask.png", "train;val", width, height, labels])
    table = pd.DataFrame(rows, columns=["id", "image", "mask", "split", "width", "height", "labels"])
    write_manifest(tmp_path / "manifest.csv", table, Classes(("dog", "cat"), ("dog", "cat"), ("#ff0000", "#00ff00")))
    assert len(read_manifest(tmp_path / "manifest.csv")) == 3
    return tmp_path / "manifest.csv"
