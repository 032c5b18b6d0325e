"""Schedules, weight decay, evaluation and CRF against the published code (tests/golden)."""

import json

import numpy as np
import pytest
import torch
from golden_files import GOLDEN
from torch import nn

from semples.config.load import load
from semples.evaluation.metrics import iou, mean_iou, threshold_confusions, threshold_histogram
from semples.inference.crf import PRESETS, dense_crf, unary_energy
from semples.training.job import adamw, learning_rate_factor

SCHEDULES = json.loads((GOLDEN / "schedules.json").read_text())
CASES = [(preset, stage) for preset in ("voc", "coco") for stage in ("classify", "slm", "cpl", "csr")]
PRESET = {"voc": "voc12", "coco": "coco14"}


@pytest.mark.parametrize(("preset", "stage"), CASES)
def test_every_epoch_has_the_published_rate(preset, stage, agrees):
    published = SCHEDULES[f"{preset}/{stage}"]
    training = getattr(load({"preset": PRESET[preset], "parity": "published"}), stage)
    factor, steps = learning_rate_factor(training), 165
    assert training.batch == published["batch"]
    shares = np.add.outer(np.arange(training.epochs), np.arange(steps) / steps) / training.epochs
    ours = training.lr * np.vectorize(factor)(shares)
    assert np.ptp(ours, axis=1).max() == 0  # one rate within an epoch
    rates = np.array(published["lr_of_epoch"])
    case = f"{preset} {stage}: learning rates of {len(rates)} epochs, of the largest"
    agrees(case, ours[:, 0] / rates.max(), rates / rates.max(), 1e-9)


@pytest.mark.parametrize(("preset", "stage"), CASES)
def test_every_parameter_decays_as_published(preset, stage):
    published = SCHEDULES[f"{preset}/{stage}"]["weight_decay"]
    module = nn.ParameterDict(
        {name.replace(".", " "): nn.Parameter(torch.ones(1 if "bias" in name else (1, 1))) for name in published}
    )
    training = getattr(load({"preset": PRESET[preset], "parity": "published"}), stage)
    decays = {group["weight_decay"] for group in adamw(module, training).param_groups}
    assert decays == set(published.values())


def test_evaluation_equals_the_published(golden, agrees):
    z, total = golden("evaluation"), np.zeros((), np.int64)
    classes, thresholds = z["iou"].shape[1] - 1, z["thresholds"]
    for key in (name for name in z if name.startswith("scores/")):
        number = key.removeprefix("scores/")
        labels, present = z[f"labels/{number}"], z[f"classes/{number}"]
        total = total + threshold_histogram(labels, z[key], present, thresholds, classes)
    confusions = threshold_confusions(total)
    agrees("evaluation: mIoU at 25 thresholds, points", 100 * mean_iou(confusions), z["miou"], 1e-3)
    agrees("evaluation: IoU of 21 classes, points", 100 * iou(confusions), z["iou"], 1e-3)


@pytest.mark.parametrize(("kernels", "preset"), [("voc", "weaktr"), ("coco", "irn")])
def test_the_crf_equals_the_published(kernels, preset, golden, agrees):
    z = golden("crf")
    for key in (name for name in z if name.startswith(f"{kernels}/") and name[-1].isdigit()):
        _, threshold, number = key.split("/")
        present, scores = z[f"classes/{number}"], z[f"scores/{number}"]
        energy = unary_energy(scores, float(threshold), PRESETS[preset].soft)
        labels = np.array([0, *(present + 1)])[dense_crf(z[f"image/{number}"], energy, PRESETS[preset], 10).argmax(0)]
        different = np.count_nonzero(labels != z[key])
        agrees(f"CRF {preset}, threshold {threshold}, image {number}: pixels of 4,800", different, 0, 5)
