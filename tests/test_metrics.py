"""Counts against scikit-learn and against brute force over thresholds."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from semples.errors import SemplesError
from semples.metrics import (
    confusion,
    confusions_of,
    iou,
    mean_iou,
    pseudo_mask,
    summary,
    threshold_histogram,
)

CLASSES = 4


@pytest.fixture
def truth() -> np.ndarray:
    truth = np.random.default_rng(0).integers(0, CLASSES + 1, (40, 50)).astype(np.uint8)
    truth[:5] = 255
    return truth


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    score = np.random.default_rng(1).random((2, 40, 50)).astype(np.float32)
    score[:, 10:12] = 0.25  # exactly a threshold: background wins
    return score, np.array([0, 3])


def test_confusion_and_iou_against_scikit_learn(truth):
    prediction = np.random.default_rng(2).integers(0, CLASSES + 1, truth.shape).astype(np.uint8)
    valid = truth != 255
    labels = list(range(CLASSES + 1))
    found = confusion(truth, prediction, CLASSES)
    assert np.array_equal(found, confusion_matrix(truth[valid], prediction[valid], labels=labels))
    expected = jaccard_score(truth[valid], prediction[valid], labels=labels, average=None)
    assert np.allclose(iou(found), expected)
    assert mean_iou(found) == pytest.approx(expected.mean())


def test_threshold_curve_against_brute_force(truth, maps):
    score, present = maps
    thresholds = np.arange(20) / 20
    matrices = confusions_of(threshold_histogram(truth, score, present, thresholds, CLASSES))
    for threshold, matrix in zip(thresholds, matrices, strict=True):
        expected = confusion(truth, pseudo_mask(score, present, threshold), CLASSES)
        assert np.array_equal(matrix, expected), threshold


def test_histograms_add_up_over_images(truth, maps):
    score, present = maps
    thresholds = np.arange(10) / 10
    halves = [
        threshold_histogram(truth[rows], score[:, rows], present, thresholds, CLASSES)
        for rows in (slice(0, 20), slice(20, 40))
    ]
    assert np.array_equal(sum(halves), threshold_histogram(truth, score, present, thresholds, CLASSES))


def test_a_class_in_neither_mask_does_not_count():
    matrix = confusion(np.array([[0, 1]], np.uint8), np.array([[0, 1]], np.uint8), CLASSES)
    assert mean_iou(matrix) == 1
    assert summary(matrix, ("a", "b", "c", "d"))["classes"]["d"]["iou"] is None


def test_false_positive_and_negative_are_shares_of_the_union():
    truth, prediction = np.array([[1, 1, 1, 0]], np.uint8), np.array([[1, 1, 0, 1]], np.uint8)
    found = summary(confusion(truth, prediction, 1), ("a",))["classes"]["a"]
    assert found == {"iou": 0.5, "false_positive": 0.25, "false_negative": 0.25}


def test_a_class_index_beyond_the_list_is_an_error():
    with pytest.raises(SemplesError, match="class index 9"):
        confusion(np.array([[9]], np.uint8), np.array([[0]], np.uint8), CLASSES)
