"""Counts of maps: exact at every threshold, mergeable, and intervals that know their sampling error."""

import tracemalloc

import numpy as np
import pytest

from semples.evaluation.metrics import (
    REPLICATES,
    BootstrapSums,
    confidence_interval,
    confusion_matrix,
    image_weights,
    mean_iou,
    pseudo_mask,
)
from semples.evaluation.thresholds import ThresholdCounts, score_histogram

THRESHOLDS, CLASSES = np.arange(20) / 20, 3


def image(number: int) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """Name, truth, scores and present classes."""
    rng = np.random.default_rng(number)
    present = np.sort(rng.permutation(CLASSES)[:2])
    truth = np.where(rng.random((20, 30)) < 0.4, present[0] + 1, 0).astype(np.uint8)
    truth[:2] = 255
    return f"image {number}", truth, rng.random((2, 20, 30)).astype(np.float32), present


def counted(numbers) -> ThresholdCounts:
    counts = ThresholdCounts(THRESHOLDS, CLASSES)
    for number in numbers:
        counts.add(*image(number))
    return counts


def test_every_threshold_is_the_confusion_of_its_masks():
    matrices = counted(range(5)).matrices()
    for threshold, matrix in zip(THRESHOLDS, matrices, strict=True):
        masks = [(truth, pseudo_mask(score, present, threshold)) for _, truth, score, present in map(image, range(5))]
        assert np.array_equal(matrix, sum(confusion_matrix(truth, mask, CLASSES) for truth, mask in masks))


def test_shards_add_up_in_any_order():
    whole, parts = counted(range(6)), counted([5, 1, 2]) + counted([4, 0, 3])
    assert np.array_equal(whole.histogram, parts.histogram)
    assert np.array_equal(whole.bootstrap_miou(7), parts.bootstrap_miou(7), equal_nan=True)


def test_a_replicate_is_the_miou_of_its_images_by_their_draws():
    index, names = 7, [image(number)[0] for number in range(4)]
    alone = [counted([number]).matrices()[index] for number in range(4)]
    result = counted(range(4)).bootstrap_miou(index)
    for replicate in (0, 1, REPLICATES - 1):
        times = [image_weights(name)[replicate] for name in names]
        if any(times):
            expected = mean_iou(sum(n * matrix for n, matrix in zip(times, alone, strict=True)))
            assert result[replicate] == pytest.approx(expected)


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(0).integers(0, 100, 400)
    sums = BootstrapSums()
    for number, value in enumerate(values):
        sums.add(str(number), {"sum": value, "count": 1})
    low, high = confidence_interval(sums["sum"] / sums["count"])
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_memory_does_not_grow_with_the_images():
    def peak(images: int) -> int:
        tracemalloc.start()
        counted(range(images))
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    assert peak(120) < 1.05 * peak(30)


def test_scores_fall_into_the_bin_below_them():
    score = np.array([[[0.0, 0.049, 0.051, 0.99]], [[0.0, 0.0, 0.0, 0.2]]])
    assert score_histogram(score, THRESHOLDS)[[0, 1, 19]].tolist() == [2, 1, 1]
