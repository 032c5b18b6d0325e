"""Counts of maps: exact at every threshold, mergeable, and intervals that know their sampling error."""

import tracemalloc
from zlib import crc32

import numpy as np
import pytest

from semples.config.settings import Settings
from semples.data.cam_file import CamWriter
from semples.evaluation.metrics import (
    REPLICATES,
    BootstrapSums,
    confidence_interval,
    confusion_matrix,
    image_weights,
    mean_iou,
    pseudo_mask,
)
from semples.evaluation.thresholds import (
    ThresholdCounts,
    label_free_threshold,
    otsu_index,
    score_histogram,
    threshold_grid,
)

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


def test_weights_are_a_thousand_poisson_draws_that_the_id_seeds():
    weights = image_weights("ü 1")
    assert np.array_equal(weights, np.random.default_rng([20, crc32("ü 1".encode())]).poisson(1.0, 1000))
    assert not np.array_equal(weights, image_weights("ü 2"))


def test_sums_of_counts_by_hand():
    one, other = BootstrapSums(), BootstrapSums()
    one.add("a", {"n": 2, "pair": [1, 3]})
    one.add("b", {"n": 5})
    other.add("c", {"n": 7, "more": 1})
    a, b, c = (image_weights(name) for name in "abc")
    assert np.array_equal(one["n"], 2 * a + 5 * b)
    assert np.array_equal(one["pair"], np.stack([a, 3 * a], axis=1))
    total = one + other
    assert set(total) == {"n", "pair", "more"}
    assert np.array_equal(total["n"], 2 * a + 5 * b + 7 * c)
    assert np.array_equal(total["more"], c)
    assert np.array_equal(one["n"], 2 * a + 5 * b)


def test_an_interval_holds_95_per_cent_and_leaves_nan_out():
    values = np.append(np.arange(1001.0), np.full(50, np.nan))
    assert confidence_interval(values) == [25.0, 975.0]


def test_images_are_counted_and_shards_stay_as_they_are():
    one, other = counted([0, 1]), counted([2])
    before = one.histogram.copy()
    total = one + other
    assert (one.images, other.images, total.images) == (2, 1, 3)
    assert np.array_equal(one.histogram, before)
    assert total.histogram.sum() == 3 * 18 * 30  # without the two rows of void
    assert total.matrices().shape == (20, 4, 4)
    assert total.matrices().sum(axis=(1, 2)).tolist() == [3 * 18 * 30] * 20


def test_histograms_of_scores_and_otsus_cut_by_hand():
    thresholds = np.arange(4) / 4
    score = np.array([[[0.0, 0.25, 0.3], [0.5, 0.75, 0.76]], [[0.0, 0.0, 0.9], [0.1, 0.2, 1.0]]])
    assert score_histogram(score, thresholds).tolist() == [2, 1, 1, 2]
    assert otsu_index(np.array([5, 4, 0, 0, 3, 6]), np.arange(6)) == 2
    assert otsu_index(np.array([5, 0, 0, 0, 0, 1]), np.arange(6)) == 1
    assert otsu_index(np.array([0, 0, 0, 0, 0, 9]), np.arange(6)) == 1
    assert otsu_index(np.array([1, 1, 8]), np.array([0, 1, 10])) == 2


def test_the_label_free_threshold_parts_low_scores_from_high_ones(tmp_path):
    settings = Settings.model_validate({"evaluate": {"thresholds": 10}})
    assert threshold_grid(settings).tolist() == [k / 10 for k in range(10)]
    with CamWriter(tmp_path / "cams.h5", ("a", "b"), ["one", "two"], "float32", {}) as writer:
        writer.add("one", np.full((1, 2, 2), 0.15), np.array([0]), 2, 2)
        writer.add("two", np.array([[[0.05, 0.85]], [[0.1, 0.75]]]), np.array([0, 1]), 1, 2)
    assert label_free_threshold(settings, tmp_path / "cams.h5") == 0.2
