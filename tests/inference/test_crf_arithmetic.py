"""What holds for any scores: energies of distributions, symmetry of the CRF in its labels, no CRF at all."""

import numpy as np
import pytest

from semples.config.settings import Crf
from semples.data.cam_file import ImageCams
from semples.inference.crf import PRESETS, dense_crf, label_probability, unary_energy


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A smooth picture, scores of one to four classes, and a threshold."""
    rng = np.random.default_rng(seed)
    height, width, classes = rng.integers(4, 20), rng.integers(4, 20), rng.integers(1, 5)
    image = np.repeat(rng.integers(0, 255, (height, 1, 3), np.uint8), width, axis=1)
    return image, rng.random((classes, height, width)).astype(np.float32), rng.random()


@pytest.mark.parametrize("seed", range(20))
def test_energies_are_those_of_a_distribution(seed):
    _, score, threshold = drawn(seed)
    planes = np.concatenate([np.full_like(score[:1], threshold), score])
    for soft in (True, False):
        energy = unary_energy(score, threshold, soft)
        assert energy.dtype == np.float32
        assert energy.min() >= 0
        probability = np.exp(-energy)
        assert np.allclose(probability.sum(axis=0), 1, atol=1e-4)
        assert np.array_equal(energy.argmin(axis=0), planes.argmax(axis=0))
    assert np.allclose(np.exp(-unary_energy(score, threshold, True)), planes / planes.sum(axis=0), atol=1e-5)


def test_an_energy_is_finite_where_a_score_is_zero():
    energy = unary_energy(np.zeros((1, 1, 1), np.float32), 0.5, soft=True)
    assert energy[:, 0, 0].tolist() == pytest.approx([0, -np.log(1e-5)])
    nothing = unary_energy(np.zeros((2, 1, 1), np.float32), 0.0, soft=True)  # the background wins a tie
    assert nothing[:, 0, 0].tolist() == pytest.approx([0, -np.log(1e-5), -np.log(1e-5)])


@pytest.mark.parametrize("seed", range(10))
def test_labels_are_probabilities_and_may_change_their_order(seed):
    image, score, threshold = drawn(seed)
    kernels = PRESETS[("weaktr", "psa")[seed % 2]]
    unary = unary_energy(score, threshold, kernels.soft)
    probability = dense_crf(image, unary, kernels, 5)
    assert (probability.dtype, probability.shape) == (np.float32, unary.shape)
    assert probability.min() >= 0
    assert np.allclose(probability.sum(axis=0), 1, atol=1e-4)
    order = np.random.default_rng(seed).permutation(len(unary))
    assert np.allclose(dense_crf(image, unary[order], kernels, 5), probability[order], atol=1e-4)


def test_without_iterations_the_crf_returns_the_probabilities_of_its_unaries():
    image, score, threshold = drawn(3)
    unary = unary_energy(score, threshold, soft=True)
    assert np.allclose(dense_crf(image, unary, PRESETS["psa"], 0), np.exp(-unary), atol=1e-4)


def test_without_a_crf_the_scores_are_scaled_to_sum_to_one(tmp_path):
    maps = ImageCams(np.array([[[0.5, 0.0]], [[0.25, 0.75]]], np.float32), np.array([0, 3]), 1, 2)
    probability = label_probability(maps, tmp_path / "unread.png", Crf(preset="none"), 0.25)
    assert probability.dtype == np.float32
    assert probability[:, 0].T.tolist() == [[0.25, 0.5, 0.25], [0.25, 0.0, 0.75]]
