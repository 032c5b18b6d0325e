"""Unaries by hand, and a CRF that follows the picture's edges."""

import sys

import numpy as np
import pytest

from semples.errors import SemplesError
from semples.inference.crf import PRESETS, dense_crf, unary_energy


def test_hard_unary_by_hand():
    score = np.array([[[0.9, 0.1]], [[0.2, 0.3]]], np.float32)
    energy = unary_energy(score, 0.5, soft=False)
    assert energy.shape == (3, 1, 2)
    probability = np.exp(-energy)
    assert np.allclose(probability[:, 0, 0], [0.15, 0.7, 0.15])
    assert np.allclose(probability[:, 0, 1], [0.7, 0.15, 0.15])


def test_soft_unary_by_hand():
    energy = unary_energy(np.array([[[0.75]]], np.float32), 0.25, soft=True)
    assert np.allclose(np.exp(-energy[:, 0, 0]), [0.25, 0.75])


@pytest.mark.parametrize("preset", PRESETS)
def test_labels_follow_the_edge_of_the_picture(preset):
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = 255
    score = np.zeros((1, 40, 40), np.float32)
    score[0, :, 18:] = 0.8  # two columns over the edge
    labels = dense_crf(image, unary_energy(score, 0.5, PRESETS[preset].soft), PRESETS[preset], 10).argmax(axis=0)
    assert (labels[:, 21:] == 1).all()
    assert (labels[:, :19] == 0).mean() > (0.95 if preset != "deeplab" else 0.9)


def test_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(SemplesError, match="pip install pydensecrf2"):
        dense_crf(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4, 4), np.float32), PRESETS["irn"], 1)
