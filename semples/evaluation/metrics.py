"""Counts that add up over images, and the ratios made of them.

A confusion matrix is int64 (classes + 1, classes + 1), [truth, prediction], background first; void (255) truth is
not counted. A threshold histogram is int64 (thresholds + 1, classes + 1, classes): [bin, truth, winning class].
"""

import cv2
import numpy as np

from semples.data.images import IGNORE
from semples.errors import SemplesError

BOUNDARY_SHARE = 0.02
CELLS = 4096  # a power of two, so that a score times it is exact


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
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

    `truth` uint8 (h, w); `score` float (present classes, h, w) in [0, 1]; `present` their class indices from 0;
    `thresholds` ascending. One such histogram holds the confusion matrix of every threshold, exactly.
    """
    valid = truth != IGNORE
    truth = truth[valid].astype(np.int32)
    _within(truth, classes, "truth")
    best, winner = best_class(score, present)
    bins = count_exceeded(best[valid], thresholds)  # background wins a tie
    index = (bins * (classes + 1) + truth) * classes + winner[valid]
    shape = (len(thresholds) + 1, classes + 1, classes)
    return np.bincount(index, minlength=np.prod(shape)).reshape(shape)


def best_class(score: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Highest score of (present classes, h, w), and whose it is, int32 from 0; the first class wins a tie. Both (h, w).

    The same as `max` and `argmax` over the first axis, several times as fast.
    """
    best, winner = score[0], np.full(score.shape[1:], present[0], np.int32)
    for plane, klass in zip(score[1:], present[1:], strict=True):
        winner[plane > best] = klass
        best = np.maximum(best, plane)
    return best, winner


def count_exceeded(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many thresholds every value in [0, 1] is greater than, int32; exact, as `searchsorted` from the left.

    Faster than that: a table says how many lie below the value's cell of 1/4096, which holds one more at most.
    """
    if np.diff(thresholds).min(initial=1) < 1 / CELLS:
        raise ValueError(f"thresholds nearer to each other than 1/{CELLS}")
    below = np.searchsorted(thresholds, np.arange(CELLS + 1) / CELLS, side="left").astype(np.int32)
    found = below[(values * CELLS).astype(np.int32)]
    return found + (values > np.append(thresholds, np.inf)[found])


def threshold_confusions(histogram: np.ndarray) -> np.ndarray:
    """Confusion matrices (thresholds, classes + 1, classes + 1) of a threshold histogram."""
    above = histogram[::-1].cumsum(axis=0)[::-1][1:]  # pixels whose score exceeds threshold i
    background = histogram.sum(axis=(0, 2)) - above.sum(axis=2)
    return np.concatenate([background[:, :, None], above], axis=2)


def pseudo_mask(score: np.ndarray, present: np.ndarray, threshold: float) -> np.ndarray:
    """uint8 (h, w): the best present class where its score exceeds the threshold, else background (0)."""
    best, winner = best_class(score, present)
    return np.where(best > threshold, winner + 1, 0).astype(np.uint8)


def iou(matrix: np.ndarray) -> np.ndarray:
    """IoU of every class, background first, (..., classes + 1); NaN where a class is in neither mask."""
    hit = np.diagonal(matrix, axis1=-2, axis2=-1).astype(float)
    union = matrix.sum(axis=-1) + matrix.sum(axis=-2) - hit
    return np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)


def mean_iou(matrix: np.ndarray) -> np.ndarray:
    """mIoU in [0, 1] of confusion matrices (..., n, n): the mean over the classes that occur."""
    return np.nanmean(iou(matrix), axis=-1)


def mean_iou_from_counts(hit: np.ndarray, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """mIoU of counts (..., classes + 1): pixels that are right, of the true class, and of the predicted class.

    The mean over the classes that occur; NaN where none does.
    """
    union = truth + found - hit
    ious = np.divide(hit, union, out=np.zeros(hit.shape), where=union > 0)
    occur = (union > 0).sum(axis=-1)
    return np.divide(ious.sum(axis=-1), occur, out=np.full(occur.shape, np.nan), where=occur > 0)


def summary(matrix: np.ndarray, names: tuple[str, ...]) -> dict:
    """mIoU and, for each class, IoU, precision, recall, and false positive and negative as shares of its union.

    What nothing is there to be counted for is None.
    """
    hit = np.diagonal(matrix)
    found, true = matrix.sum(axis=0), matrix.sum(axis=1)
    union = found + true - hit
    rows = {
        name: {
            "iou": _ratio(hit[k], union[k]),
            "precision": _ratio(hit[k], found[k]),
            "recall": _ratio(hit[k], true[k]),
            "false_positive": _ratio(found[k] - hit[k], max(union[k], 1)),
            "false_negative": _ratio(true[k] - hit[k], max(union[k], 1)),
        }
        for k, name in enumerate(("background", *names))
    }
    return {"miou": float(mean_iou(matrix)), "classes": rows, "pixels": int(matrix.sum())}


def boundary_counts(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """int64 (3, classes + 1): pixels of the class near its outline, in both masks, in `truth`, in `prediction`.

    Boundary IoU (Cheng et al., CVPR 2021) is the first over the union. Near is within 2 per cent of the diagonal; void
    (255) truth is left out of both masks.
    """
    near = max(1, round(BOUNDARY_SHARE * float(np.hypot(*truth.shape))))
    counts = np.zeros((3, classes + 1), np.int64)
    prediction = np.where(truth == IGNORE, IGNORE, prediction)
    for k in np.flatnonzero(np.bincount(truth.ravel(), minlength=256) + np.bincount(prediction.ravel(), minlength=256)):
        if k != IGNORE:
            edges = [_outline(mask == k, near) for mask in (truth, prediction)]
            counts[:, k] = (edges[0] & edges[1]).sum(), edges[0].sum(), edges[1].sum()
    return counts


def _outline(mask: np.ndarray, near: int) -> np.ndarray:
    """The pixels of a mask bool (h, w) that are within `near` pixels of its outline or of the picture's edge."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=near, borderValue=0)
    return mask & (inner == 0)


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def _within(values: np.ndarray, classes: int, what: str) -> None:
    if values.size and values.max() > classes:
        raise SemplesError(
            f"{what} mask",
            f"class index {values.max()}",
            f"0 to {classes}, or 255 for void",
            "check the class list",
        )
