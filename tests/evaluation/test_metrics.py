"""Counts against scikit-learn and against brute force over thresholds."""

import cv2
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from sklearn import metrics as reference

from semples.errors import SemplesError
from semples.evaluation.metrics import (
    best_class,
    boundary_counts,
    confusion_matrix,
    count_exceeded,
    iou,
    mean_iou,
    mean_iou_from_counts,
    pseudo_mask,
    summary,
    threshold_confusions,
    threshold_histogram,
)
from semples.evaluation.thresholds import otsu_index

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
    result = confusion_matrix(truth, prediction, CLASSES)
    assert np.array_equal(result, reference.confusion_matrix(truth[valid], prediction[valid], labels=labels))
    expected = reference.jaccard_score(truth[valid], prediction[valid], labels=labels, average=None)
    assert np.allclose(iou(result), expected)
    assert mean_iou(result) == pytest.approx(expected.mean())


def test_threshold_curve_against_brute_force(truth, maps):
    score, present = maps
    thresholds = np.arange(20) / 20
    matrices = threshold_confusions(threshold_histogram(truth, score, present, thresholds, CLASSES))
    for threshold, matrix in zip(thresholds, matrices, strict=True):
        expected = confusion_matrix(truth, pseudo_mask(score, present, threshold), CLASSES)
        assert np.array_equal(matrix, expected), threshold


def test_histograms_add_up_over_images(truth, maps):
    score, present = maps
    thresholds = np.arange(10) / 10
    halves = [
        threshold_histogram(truth[rows], score[:, rows], present, thresholds, CLASSES)
        for rows in (slice(0, 20), slice(20, 40))
    ]
    assert np.array_equal(sum(halves), threshold_histogram(truth, score, present, thresholds, CLASSES))


def test_shapes_in_signatures_are_checked():
    with pytest.raises(TypeCheckError):
        iou(np.zeros((2, 3), int))


def test_a_class_in_neither_mask_does_not_count():
    matrix = confusion_matrix(np.array([[0, 1]], np.uint8), np.array([[0, 1]], np.uint8), CLASSES)
    assert mean_iou(matrix) == 1
    assert summary(matrix, ("a", "b", "c", "d"))["classes"]["d"]["iou"] is None


def test_false_positive_and_negative_are_shares_of_the_union():
    truth, prediction = np.array([[1, 1, 1, 0]], np.uint8), np.array([[1, 1, 0, 1]], np.uint8)
    result = summary(confusion_matrix(truth, prediction, 1), ("a",))["classes"]["a"]
    assert (result["iou"], result["false_positive"], result["false_negative"]) == (0.5, 0.25, 0.25)
    assert result["precision"] == result["recall"] == pytest.approx(2 / 3)


def test_a_class_index_beyond_the_list_is_an_error():
    with pytest.raises(SemplesError, match="class index 9"):
        confusion_matrix(np.array([[9]], np.uint8), np.array([[0]], np.uint8), CLASSES)


def test_boundary_counts_by_hand():
    truth, prediction = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    truth[20:60, 20:60] = 1  # 3 pixels are near: 2 per cent of the diagonal
    prediction[20:60, 40:80] = 1
    result = boundary_counts(truth, prediction, 2)
    ring = 40 * 40 - 34 * 34
    assert result[1:, 1].tolist() == [ring, ring]
    assert result[0, 1] == 2 * 3 * 20 + 0 * ring  # the strips along both long sides where the squares overlap
    assert result[:, 2].tolist() == [0, 0, 0]
    assert mean_iou_from_counts(*boundary_counts(truth, truth, 2)) == 1


def test_boundaries_inside_void_do_not_count():
    truth = np.full((50, 50), 255, np.uint8)
    assert boundary_counts(truth, np.ones((50, 50), np.uint8), 1).sum() == 0


def test_otsu_cuts_between_two_heaps_as_opencv_does():
    heaps = np.random.default_rng(0).normal([60, 180], [20, 25], (5000, 2)).clip(0, 255).astype(np.uint8)
    index = otsu_index(np.bincount(heaps.ravel(), minlength=256), np.arange(256))
    expected, _ = cv2.threshold(heaps, 0, 255, cv2.THRESH_OTSU)
    assert index == expected + 1
    assert otsu_index(np.array([0, 9, 0, 0]), np.arange(4)) < 4


def test_mean_iou_of_counts_is_that_of_the_matrix(truth):
    prediction = np.random.default_rng(2).integers(0, CLASSES, truth.shape).astype(np.uint8)
    matrix = confusion_matrix(truth, prediction, CLASSES)
    result = mean_iou_from_counts(np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0))
    assert result == pytest.approx(mean_iou(matrix))
    assert np.isnan(mean_iou_from_counts(*np.zeros((3, 2, 4), int))).all()


@pytest.mark.parametrize("count", [2, 20, 100, 1000])
def test_exceeded_thresholds_are_those_of_searchsorted(count):
    thresholds = np.arange(count) / count
    values = np.concatenate([np.random.default_rng(0).random(9000), thresholds, np.arange(4097) / 4096, [0.2]])
    for scores in (values, values.astype(np.float32), values.astype(np.float16).astype(np.float32)):
        assert np.array_equal(count_exceeded(scores, thresholds), np.searchsorted(thresholds, scores, side="left"))


def test_best_class_is_argmax():
    score = np.random.default_rng(0).integers(0, 4, (3, 20, 20)).astype(np.float32) / 4  # with ties
    best, winner = best_class(score, np.array([1, 4, 7]))
    assert np.array_equal(best, score.max(axis=0))
    assert np.array_equal(winner, np.array([1, 4, 7])[score.argmax(axis=0)])
