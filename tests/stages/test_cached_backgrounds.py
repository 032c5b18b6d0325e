"""The embeddings of cpl's backgrounds, computed once: losses and prompts are those of embeddings of every epoch."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from semples.cli import main
from semples.models.tasks import PromptTask
from semples.training import background_cache

EPOCHS, BATCH = 4, 3  # of the four images, an epoch takes one batch; two batches hold all
WHOLE = {"crop_scale": [1, 1], "flip": 0.5, "randaugment": 0, "erasing": 0}
STAGE = {"epochs": 1, "batch": BATCH, "lr": 1e-3, "augment": WHOLE}
BASE = {
    "run": {"device": "cpu", "threads": 1},
    "precision": "32-true",
    "data": {"source": "mini"},
    "guide": {"model": "mini"},
    "generator": {"name": "conv_cam", "image_size": 64},
    **dict.fromkeys(("classify", "slm"), STAGE),
    "cpl": {**STAGE, "epochs": EPOCHS, "length": 4},
}
FROZEN = {"name": "frozen_vit", "backbone": "test_vit", "weights": "none", "image_size": 64}


def semples(command: str, *flags: object, **settings) -> None:
    merged = {
        key: {**value, **settings.get(key, {})} if isinstance(value, dict) else value for key, value in BASE.items()
    }
    assert main([command, "--config", json.dumps(merged), *map(str, flags)]) == 0


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def data(drawn, tmp_path_factory) -> tuple:
    """Flags of cpl: manifest and guide."""
    guide = tmp_path_factory.mktemp("guide")
    semples("guide", "--classes", drawn / "data/classes.csv", "--out", guide)
    return "--manifest", drawn / "data/manifest.csv", "--guide", guide


@pytest.fixture(params=["generator", "features", "maps"])
def source(request, data, tmp_path) -> tuple[tuple, dict]:
    """Further flags and settings of cpl that starts from a generator, from one with stored features, or from maps."""
    settings: dict = {}
    if request.param == "features":
        settings = {"generator": FROZEN, "run": {"cache_folder": str(tmp_path / "features")}}
    model = {stage: tmp_path / stage / "model.safetensors" for stage in ("classify", "slm")}
    semples("classify", *data[:2], "--out", tmp_path / "classify", **settings)
    semples("slm", *data, "--start", model["classify"], "--out", tmp_path / "slm", **settings)
    if request.param == "maps":
        maps = tmp_path / "cams.h5"
        semples("cams", *data[:2], "--split", "train", "--generator", model["slm"], "--out", maps)
        return (), {"cpl": {"start": str(maps)}}
    return ("--generator", model["slm"]), settings


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """The images of every batch whose backgrounds are embedded."""
    seen, embed = [], PromptTask.backgrounds
    monkeypatch.setattr(
        PromptTask, "backgrounds", lambda task, batch: seen.append(len(batch["labels"])) or embed(task, batch)
    )
    return seen


def test_losses_and_prompts_are_those_without_a_cache(data, source, tmp_path, passes, monkeypatch):
    flags, settings = source
    semples("cpl", *data, *flags, "--out", tmp_path / "cached", **settings)
    assert passes == [3, 1] * 2  # as they are, and mirrored
    monkeypatch.setattr(background_cache, "_obstacle", lambda *_: "this test compares")
    semples("cpl", *data, *flags, "--out", tmp_path / "plain", **settings)
    assert passes[4:] == [3] * EPOCHS
    cached, plain = rows(tmp_path / "cached"), rows(tmp_path / "plain")
    assert len({row["loss"] for row in plain}) == EPOCHS  # it learns
    for ours, theirs in zip(cached, plain, strict=True):
        for name in ("loss", "s_bg", "s_text"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5), name
    embeddings = [load_file(tmp_path / name / "prompts.safetensors")["embeddings"] for name in ("cached", "plain")]
    assert (embeddings[0] - embeddings[1]).abs().max() < 1e-4


@pytest.mark.parametrize(
    "settings",
    [{"augment": {**WHOLE, "crop_scale": [0.5, 1]}}, {"epochs": 2}, {"augment": {**WHOLE, "randaugment": 3}}],
)
def test_nothing_is_kept_where_it_would_be_wrong_or_useless(data, tmp_path, passes, settings):
    semples("classify", *data[:2], "--out", tmp_path)
    semples("slm", *data, "--start", tmp_path / "model.safetensors", "--out", tmp_path / "slm")
    flags = ("--generator", tmp_path / "slm/model.safetensors", "--out", tmp_path / "cpl")
    semples("cpl", *data, *flags, cpl=settings)
    assert passes == [BATCH] * settings.get("epochs", EPOCHS)
