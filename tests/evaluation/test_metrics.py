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
    last, beyond, zero = (np.array([[index, 0]], np.uint8) for index in (4, 5, 0))
    assert confusion_matrix(last, last, CLASSES)[4, 4] == 1
    text = "{}\n  found:    class index 5\n  expected: 0 to 4, or 255 for void\n  remedy:   check the class list"
    for truth, prediction, name in ((beyond, zero, "ground truth"), (zero, beyond, "predicted mask")):
        with pytest.raises(SemplesError) as error:
            confusion_matrix(truth, prediction, CLASSES)
        assert str(error.value) == text.format(name)
    score, present = np.zeros((1, 1, 2), np.float32), np.array([0])
    assert threshold_histogram(last, score, present, np.arange(2) / 2, CLASSES).sum() == 2
    with pytest.raises(SemplesError) as error:
        threshold_histogram(beyond, score, present, np.arange(2) / 2, CLASSES)
    assert str(error.value) == text.format("ground truth")


def test_confusion_by_hand_with_void_on_both_sides():
    truth, prediction = np.array([[0, 1, 2, 255]], np.uint8), np.array([[0, 2, 255, 1]], np.uint8)
    matrix = confusion_matrix(truth, prediction, 2)
    assert matrix.tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert matrix.dtype == np.int64
    void = np.full((3, 3), 255, np.uint8)
    assert confusion_matrix(void, void, 254 - 1).sum() == 0


def test_threshold_histogram_by_hand():
    truth = np.array([[0, 1, 2, 255], [2, 2, 1, 0]], np.uint8)
    score = np.array([[[0, 0.6, 0.2, 1], [0.5, 1, 0.4, 0.3]], [[0.1, 0.6, 0.9, 1], [0.4, 0, 0.8, 0.3]]], np.float32)
    histogram = threshold_histogram(truth, score, np.array([0, 1]), np.array([0.0, 0.25, 0.5]), 2)
    assert histogram.shape == (4, 3, 2)
    expected = np.zeros((4, 3, 2), int)  # exceeded thresholds, truth, winner; the first of equal scores wins
    for cell in [(1, 0, 1), (3, 1, 0), (3, 2, 1), (2, 2, 0), (3, 2, 0), (3, 1, 1), (2, 0, 0)]:
        expected[cell] += 1
    assert np.array_equal(histogram, expected)
    matrices = threshold_confusions(histogram)
    assert matrices.tolist() == [
        [[0, 1, 1], [0, 1, 1], [0, 2, 1]],
        [[1, 1, 0], [0, 1, 1], [0, 2, 1]],
        [[2, 0, 0], [0, 1, 1], [1, 1, 1]],
    ]
    assert pseudo_mask(score, np.array([0, 1]), 0.25).tolist() == [[0, 1, 2, 1], [1, 1, 2, 1]]
    assert pseudo_mask(score, np.array([2, 7]), 0.5).tolist() == [[0, 3, 8, 3], [0, 3, 8, 0]]
    assert pseudo_mask(score, np.array([0, 1]), 0.25).dtype == np.uint8


def test_thresholds_may_be_as_near_as_a_cell_and_no_nearer():
    near = np.array([0.5, 0.5 + 1 / 4096, 0.75])
    assert count_exceeded(np.array([0.0, 0.5, 0.5001, 0.5 + 1 / 4096, 0.6, 1.0]), near).tolist() == [0, 0, 1, 1, 2, 3]
    assert count_exceeded(np.array([0.0, 0.1]), np.array([0.05])).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"^thresholds are nearer to each other than 1/4096$"):
        count_exceeded(np.array([0.5]), np.array([0.25, 0.5, 0.5 + 0.99 / 4096]))


def test_ious_of_several_matrices_at_once():
    matrices = np.array([[[2, 1, 0], [1, 4, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 3], [0, 0, 1]]])
    nan = float("nan")
    assert np.allclose(iou(matrices), [[2 / 4, 4 / 6, nan], [nan, 0, 1 / 4]], equal_nan=True)
    assert mean_iou(matrices).tolist() == pytest.approx([(1 / 2 + 2 / 3) / 2, 1 / 8])
    hit, truth, predicted = np.diagonal(matrices, axis1=1, axis2=2), matrices.sum(axis=2), matrices.sum(axis=1)
    assert mean_iou_from_counts(hit, truth, predicted).tolist() == pytest.approx([7 / 12, 1 / 8])
    assert np.isnan(mean_iou_from_counts(hit * 0, truth * 0, predicted * 0)).tolist() == [True, True]


@np.errstate(all="raise")
def test_absent_classes_and_single_pixels_divide_nothing_by_zero():
    matrix = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert np.allclose(iou(matrix), [np.nan, 1, np.nan], equal_nan=True)
    hit = np.diagonal(matrix)
    assert mean_iou_from_counts(hit, hit, hit) == 1
    assert np.isnan(mean_iou_from_counts(hit * 0, hit * 0, hit * 0))
    wrong = summary(np.array([[0, 1], [0, 0]]), ("cat",))["classes"]
    assert (wrong["background"]["false_negative"], wrong["cat"]["false_positive"]) == (1, 1)


def test_a_summary_by_hand():
    result = summary(np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]]), ("cat", "dog"))
    background = {"iou": 6 / 9, "precision": 6 / 7, "recall": 6 / 8, "false_positive": 1 / 9, "false_negative": 2 / 9}
    cat = {"iou": 3 / 6, "precision": 3 / 5, "recall": 3 / 4, "false_positive": 2 / 6, "false_negative": 1 / 6}
    absent = {"iou": None, "precision": None, "recall": None, "false_positive": 0.0, "false_negative": 0.0}
    assert result["classes"] == {"background": background, "cat": cat, "dog": absent}
    assert result["miou"] == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert result["pixels"] == 12
    missed = summary(np.array([[0, 0], [5, 0]]), ("cat",))["classes"]
    assert missed["cat"] == {"iou": 0, "precision": None, "recall": 0, "false_positive": 0, "false_negative": 1}
    assert missed["background"] == {"iou": 0, "precision": 0, "recall": None, "false_positive": 1, "false_negative": 0}


def test_boundaries_of_small_masks_are_one_pixel_wide_and_follow_the_border():
    truth = np.zeros((5, 5), np.uint8)
    truth[1:4, 1:4] = 1
    counts = boundary_counts(truth, truth, 2)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[16, 8, 0]] * 3  # the background's outline is the frame, that of class 1 a ring
    other = truth.copy()
    other[2, 2], other[0, 0], truth[0, 4] = 2, 255, 255
    assert boundary_counts(truth, other, 2).tolist() == [[14, 8, 0], [15, 8, 0], [14, 8, 1]]


def test_a_boundary_is_two_per_cent_of_the_diagonal_wide():
    for side, width in ((30, 1), (60, 2), (100, 3), (300, 8)):
        mask = np.ones((side, side), np.uint8)
        assert boundary_counts(mask, mask, 1)[0, 1] == side**2 - (side - 2 * width) ** 2


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
