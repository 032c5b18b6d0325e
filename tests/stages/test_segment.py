"""`semples segment`: it learns, resumes after kill -9, and refuses what it cannot do."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from semples.cli import main
from semples.config.settings import Segment
from semples.data.manifest import read_manifest
from semples.inference.segmentation import load_segmenter
from semples.models.segmenters import Segmenter
from semples.stages import segment

# checkpoints after every epoch; the workflow's default is one in thirty seconds
PROGRAM = "from semples.training import loop; loop.SAVE_EVERY_S = -1; from semples.cli import main; main()"


def flags(drawn: Path, settings: str, out: Path, masks: bool = True) -> list[str]:
    given = ["--masks", drawn / "masks"] if masks else []
    words = ["segment", "--config", settings, "--manifest", drawn / "data/manifest.csv", *given, "--out", out]
    return [str(word) for word in words]


def predict(manifest: Path, settings: str, folder: Path) -> int:
    """Write `folder`/predictions from the model there; return the exit code."""
    paths = ("--manifest", manifest, "--checkpoint", folder / "model.safetensors", "--out", folder / "predictions")
    return main(["segment_masks", "--config", settings, *map(str, paths)])


def metrics(folder: Path) -> list[dict]:
    """The rows of metrics.jsonl without what depends on the clock and the machine."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("images_per_s", "peak_memory_mb")} for row in rows]


@pytest.mark.slow
def test_four_images_are_learned_by_heart(drawn, segment_settings, tmp_path):
    by_heart = {"labels": "truth", "epochs": 250, "lr": 1e-2, "decoder_channels": 64, "scale": [1, 1]}
    settings = json.loads(segment_settings(**by_heart, curve_images=0))
    settings["data"]["val"] = "train"
    assert main(flags(drawn, json.dumps(settings), tmp_path, masks=False)) == 0
    assert predict(drawn / "data/manifest.csv", json.dumps(settings), tmp_path) == 0
    paths = ("--manifest", drawn / "data/manifest.csv", "--split", "train", "--masks", tmp_path / "predictions")
    out = tmp_path / "found.json"
    assert main(["evaluate", *map(str, paths), "--kind", "segment", "--config", "{}", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["miou"] > 0.95


def test_killed_it_resumes_to_the_same_curve_and_weights(drawn, segment_settings, tmp_path, caplog):
    settings = segment_settings(epochs=6, batch=4, jitter=0.3, ema=0.5, accumulate=2)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(flags(drawn, settings, whole)) == 0
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *flags(drawn, settings, killed)], stderr=subprocess.PIPE)
    running = killed / "checkpoints/metrics.jsonl"
    while not (running.exists() and running.read_text().count("\n") >= 3):
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "model.safetensors").exists()
    with caplog.at_level("INFO"):
        assert main(flags(drawn, settings, killed)) == 0
    assert "resuming after epoch" in caplog.text
    assert metrics(killed) == metrics(whole)
    weights = [load_file(folder / "model.safetensors") for folder in (whole, killed)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_photograph_that_breaks_in_an_evaluation_costs_no_step(
    drawn, segment_settings, tmp_path, capsys, monkeypatch
):
    shutil.copytree(drawn / "data", tmp_path / "data")
    shutil.copytree(drawn / "masks", tmp_path / "masks")
    manifest = tmp_path / "data/manifest.csv"
    broken = Path(read_manifest(manifest).split("val").table["image"][0])
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    assert main(flags(tmp_path, segment_settings(epochs=1), tmp_path / "out")) == 1
    error = capsys.readouterr().err.partition("error: ")[2]
    assert error.startswith(f"{broken}\n")
    broken.write_bytes(content)
    monkeypatch.setattr("semples.training.loop._Run._step", lambda *_: pytest.fail("a step was trained again"))
    mended = segment_settings(epochs=1, test_scales=[0.5], curve_images=1)
    assert main(flags(tmp_path, mended, tmp_path / "out")) == 0
    assert (tmp_path / "out/model.safetensors").exists()


@pytest.mark.parametrize(("optimizer", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_decoder_learns_faster_by_its_factor(optimizer, kind):
    network = Segmenter("deeplabv3plus", "tu-resnet10t", 2, 16)
    made = segment._optimizer(network, Segment(optimizer=optimizer, lr=0.01, head_lr_factor=7.0))
    assert isinstance(made, kind)
    rates = {id(parameter): group["lr"] for group in made.param_groups for parameter in group["params"]}
    encoder = {id(parameter) for parameter in network.encoder_parameters()}
    assert set(rates) == {id(parameter) for parameter in network.parameters()}
    for key, rate in rates.items():
        assert rate == pytest.approx(0.01 if key in encoder else 0.07)


def test_the_curve_selects_nothing(drawn, trained, segment_settings, tmp_path):
    assert "val_miou" in metrics(trained)[0]
    assert main(flags(drawn, segment_settings(curve_images=0), tmp_path)) == 0
    assert "val_miou" not in metrics(tmp_path)[0]
    with_curve, without = (load_segmenter(folder / "model.safetensors").network for folder in (trained, tmp_path))
    for name, value in with_curve.state_dict().items():
        assert value.equal(without.state_dict()[name]), name


def test_odd_pictures_a_class_that_is_absent_and_all_the_options(odd_photos, segment_settings, tmp_path):
    settings = json.loads(
        segment_settings(
            **{"labels": "truth", "batch": 3, "epochs": 2, "class_weights": "balanced", "optimizer": "sgd"},
            **{"ema": 0.9, "accumulate": 3, "warmup": 0.3, "test_window": 32, "test_crf": "mini"},
        )
    )
    for row in read_manifest(odd_photos).table.itertuples():  # no pixel of the class cat; a picture of void alone
        mask = cv2.imread(row.mask, cv2.IMREAD_UNCHANGED)
        cv2.imwrite(row.mask, np.where(mask == 2, 255, mask) if row.id != "odd 2" else np.full_like(mask, 255))
    flags = ("--config", json.dumps(settings), "--manifest", odd_photos, "--out", tmp_path / "out")
    assert main(["segment", *map(str, flags)]) == 0
    assert all(np.isfinite(row["loss"]) and row["skipped"] == 0 for row in metrics(tmp_path / "out"))
    assert predict(odd_photos, json.dumps(settings), tmp_path / "out") == 0
    found = cv2.imread(str(tmp_path / "out/predictions/odd 1.png"), cv2.IMREAD_UNCHANGED)
    assert found.shape[:2] == (33, 64)


def test_confidence_changes_what_is_learned(drawn, trained, segment_settings, tmp_path):
    sure = shutil.copytree(drawn / "masks", tmp_path / "masks") / "confidence"
    sure.mkdir()
    rng = np.random.default_rng(0)
    for path in (drawn / "masks").glob("*.png"):
        cv2.imwrite(str(sure / path.name), rng.integers(0, 256, (64, 64), np.uint8))
    given = flags(drawn, segment_settings(confidence=True), tmp_path / "out")
    given[given.index(str(drawn / "masks"))] = str(tmp_path / "masks")
    assert main(given) == 0
    assert metrics(tmp_path / "out")[0]["loss"] != metrics(trained)[0]["loss"]


def test_confidence_that_is_not_there_is_one_clear_error(drawn, segment_settings, tmp_path, capsys):
    shutil.copytree(drawn / "masks", tmp_path / "masks")
    given = flags(drawn, segment_settings(confidence=True), tmp_path / "out")
    given[given.index(str(drawn / "masks"))] = str(tmp_path / "masks")
    assert main(given) == 1
    assert "set `crf.confidence: true`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pseudo_masks_that_are_not_given_are_an_error(drawn, segment_settings, tmp_path, capsys):
    assert main(flags(drawn, segment_settings(), tmp_path, masks=False)) == 1
    assert "make it with `semples crf`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("network", "encoder"),
    [("deeplabv3plus", "tu-resnet10t"), ("deeplabv2", "tu-resnet18"), ("upernet", "vit:deit_tiny_patch16_224")],
)
def test_an_encoder_starts_from_a_file_of_timm(drawn, segment_settings, tmp_path, network, encoder):
    torch.manual_seed(1)
    given = timm.create_model(encoder.removeprefix("tu-").removeprefix("vit:")).state_dict()
    save_file({name: value.contiguous() for name, value in given.items()}, tmp_path / "timm.safetensors")
    still = {"network": network, "encoder": encoder, "weights": str(tmp_path / "timm.safetensors"), "lr": 1e-12}
    assert main(flags(drawn, segment_settings(**still, crop=32, curve_images=0), tmp_path / "out")) == 0
    encoder = load_segmenter(tmp_path / "out/model.safetensors").network.network.encoder
    found = getattr(encoder, "model", encoder).state_dict()
    learned = [name for name, value in found.items() if value.is_floating_point() and "running" not in name]
    assert len(learned) > 10
    assert all(torch.allclose(found[name], given[name], atol=1e-6) for name in learned)
