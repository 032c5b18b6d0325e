"""Counts that add up over images, and the ratios made of them.

A confusion matrix is int64 (classes + 1, classes + 1), [truth, prediction], background first; void (255) truth is
not counted. A threshold histogram is int64 (thresholds + 1, classes + 1, classes): [bin, truth, winning class].
"""

import numpy as np

from semples.errors import SemplesError
from semples.images import IGNORE


def confusion(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Count pixels of two uint8 masks of one shape. A prediction of 255 counts as background."""
    valid = truth != IGNORE
    truth, prediction = truth[valid].astype(np.int64), prediction[valid].astype(np.int64)
    prediction = np.where(prediction == IGNORE, 0, prediction)
    _within(truth, classes, "truth")
    _within(prediction, classes, "prediction")
    side = classes + 1
    return np.bincount(truth * side + prediction, minlength=side * side).reshape(side, side)


def threshold_histogram(
    truth: np.ndarray, score: np.ndarray, present: np.ndarray, thresholds: np.ndarray, classes: int
) -> np.ndarray:
    """Count pixels by how many thresholds their best score exceeds, by truth and by winning class.

    `truth` uint8 (h, w); `score` float (present classes, h, w); `present` their class indices from 0;
    `thresholds` ascending. One such histogram holds the confusion matrix of every threshold, exactly.
    """
    valid = truth != IGNORE
    truth = truth[valid].astype(np.int64)
    _within(truth, classes, "truth")
    winner = present[score.argmax(axis=0)[valid]]
    exceeded = np.searchsorted(thresholds, score.max(axis=0)[valid], side="left")  # background wins a tie
    shape = (len(thresholds) + 1, classes + 1, classes)
    index = np.ravel_multi_index((exceeded, truth, winner), shape)
    return np.bincount(index, minlength=np.prod(shape)).reshape(shape)


def confusions_of(histogram: np.ndarray) -> np.ndarray:
    """Confusion matrices (thresholds, classes + 1, classes + 1) of a threshold histogram."""
    above = histogram[::-1].cumsum(axis=0)[::-1][1:]  # pixels whose score exceeds threshold i
    background = histogram.sum(axis=(0, 2)) - above.sum(axis=2)
    return np.concatenate([background[:, :, None], above], axis=2)


def pseudo_mask(score: np.ndarray, present: np.ndarray, threshold: float) -> np.ndarray:
    """uint8 (h, w): the best present class where its score exceeds the threshold, else background (0)."""
    return np.where(score.max(axis=0) > threshold, present[score.argmax(axis=0)] + 1, 0).astype(np.uint8)


def iou(matrix: np.ndarray) -> np.ndarray:
    """IoU of every class, background first, (..., classes + 1); NaN where a class is in neither mask."""
    hit = np.diagonal(matrix, axis1=-2, axis2=-1).astype(float)
    union = matrix.sum(axis=-1) + matrix.sum(axis=-2) - hit
    return np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)


def mean_iou(matrix: np.ndarray) -> np.ndarray:
    """mIoU in [0, 1] of confusion matrices (..., n, n): the mean over the classes that occur."""
    return np.nanmean(iou(matrix), axis=-1)


def summary(matrix: np.ndarray, names: tuple[str, ...]) -> dict:
    """mIoU and, for each class, IoU and the shares of its union that are false positive and false negative."""
    hit = np.diagonal(matrix).astype(float)
    false_positive, false_negative = matrix.sum(axis=0) - hit, matrix.sum(axis=1) - hit
    union = np.maximum(hit + false_positive + false_negative, 1)
    rows = {
        name: {
            "iou": None if np.isnan(value) else float(value),
            "false_positive": float(false_positive[k] / union[k]),
            "false_negative": float(false_negative[k] / union[k]),
        }
        for k, (name, value) in enumerate(zip(("background", *names), iou(matrix), strict=True))
    }
    return {"miou": float(mean_iou(matrix)), "classes": rows, "pixels": int(matrix.sum())}


def _within(values: np.ndarray, classes: int, what: str) -> None:
    if values.size and values.max() > classes:
        raise SemplesError(
            f"{what} mask",
            f"class index {values.max()}",
            f"0 to {classes}, or 255 for void",
            "check the class list",
        )
