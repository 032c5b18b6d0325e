"""Pixel counts of masks, which add up over images, the ratios that follow from them, and their confidence intervals.

A confusion matrix is [truth, prediction], background first. A threshold histogram is [bin, truth, winning class]: bin i
counts the pixels whose best score exceeds i thresholds. Pixels whose ground truth is void (255) are not counted.

`truth` and `prediction` hold class indices: 0 background, 255 void, k + 1 object class k; larger ones than `classes`,
the number of object classes, raise SemplesError. `score` holds maps in [0, 1] of the classes `present`, indices from 0.
"""

from collections.abc import Hashable, Mapping
from zlib import crc32

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, Int32, Int64, UInt8
from numpy.typing import ArrayLike

from semples.data.images import IGNORE
from semples.errors import SemplesError

Mask = UInt8[np.ndarray, "h w"]
Scores = Float[np.ndarray, "present h w"]
Present = Int[np.ndarray, " present"]
Thresholds = Float[np.ndarray, " thresholds"]  # ascending, in [0, 1)
Matrix = Int[np.ndarray, "*batch n n"]
Histogram = Int64[np.ndarray, "bins n classes"]  # n is classes + 1, bins is thresholds + 1
PerClass = Int[np.ndarray, "*batch n"]

BOUNDARY_SHARE = 0.02  # of the image's diagonal
CELLS = 4096  # a power of two, so that scores times it are exact
REPLICATES, SEED = 1000, 20


def confusion_matrix(truth: Mask, prediction: Mask, classes: int) -> Matrix:
    """Count the pixels of two masks by their classes; a prediction of 255 counts as background."""
    valid = truth != IGNORE
    truth, prediction = truth[valid].astype(np.int64), prediction[valid].astype(np.int64)
    prediction[prediction == IGNORE] = 0
    _check_indices(truth, classes, "ground truth")
    _check_indices(prediction, classes, "predicted mask")
    side = classes + 1
    return np.bincount(truth * side + prediction, minlength=side * side).reshape(side, side)


def threshold_histogram(
    truth: Mask, score: Scores, present: Present, thresholds: Thresholds, classes: int
) -> Histogram:
    """Count pixels by the number of thresholds that their best score exceeds, by truth and by winning class."""
    valid = truth != IGNORE
    _check_indices(truth[valid], classes, "ground truth")
    best, winner = best_class(score, present)
    bins = count_exceeded(best[valid], thresholds)  # background wins a tie
    index = (bins * (classes + 1) + truth[valid]) * classes + winner[valid]
    shape = (len(thresholds) + 1, classes + 1, classes)
    return np.bincount(index, minlength=np.prod(shape)).reshape(shape)


def best_class(score: Scores, present: Present) -> tuple[Float[np.ndarray, "h w"], Int32[np.ndarray, "h w"]]:
    """Return the highest score of every pixel and its class, as `max` and `argmax` do, but several times as fast."""
    best, winner = score[0], np.full(score.shape[1:], present[0], np.int32)
    for plane, klass in zip(score[1:], present[1:], strict=True):
        winner[plane > best] = klass
        best = np.maximum(best, plane)
    return best, winner


def count_exceeded(values: Float[np.ndarray, " n"], thresholds: Thresholds) -> Int32[np.ndarray, " n"]:
    """Count the thresholds that each value in [0, 1] exceeds, exactly as `searchsorted` from the left, but faster."""
    # a table counts the thresholds below the value's cell of width 1/CELLS; the cell itself has one more at most
    if np.diff(thresholds).min(initial=1) < 1 / CELLS:
        raise ValueError(f"thresholds are nearer to each other than 1/{CELLS}")
    below = np.searchsorted(thresholds, np.arange(CELLS + 1) / CELLS, side="left").astype(np.int32)
    count = below[(values * CELLS).astype(np.int32)]
    return count + (values > np.append(thresholds, np.inf)[count])


def threshold_confusions(histogram: Histogram) -> Matrix:
    """Return the exact confusion matrix at every threshold of a threshold histogram."""
    above = histogram[::-1].cumsum(axis=0)[::-1][1:]  # pixels whose score exceeds threshold i
    background = histogram.sum(axis=(0, 2)) - above.sum(axis=2)
    return np.concatenate([background[:, :, None], above], axis=2)


def pseudo_mask(score: Scores, present: Present, threshold: float) -> Mask:
    """Return the mask of the best class where its score exceeds the threshold, background elsewhere."""
    best, winner = best_class(score, present)
    return np.where(best > threshold, winner + 1, 0).astype(np.uint8)


def iou(matrix: Matrix) -> Float[np.ndarray, "*batch n"]:
    """Return IoU per class, background first; NaN where a class is absent."""
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    union = matrix.sum(axis=-1) + matrix.sum(axis=-2) - hit
    return np.divide(hit, union, out=np.full(hit.shape, np.nan), where=union > 0)


def mean_iou(matrix: Matrix) -> Float[np.ndarray, "*batch"] | np.floating:
    """Return mIoU in [0, 1] of every confusion matrix: the mean over the classes that occur, NaN if none does."""
    return mean_iou_from_counts(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1), matrix.sum(axis=-2))


def mean_iou_from_counts(hit: PerClass, truth: PerClass, predicted: PerClass) -> Float[np.ndarray, "*batch"]:
    """Return mIoU of pixels per class: correctly predicted, in the ground truth, predicted; NaN if no class occurs."""
    union = truth + predicted - hit
    ious = np.divide(hit, union, out=np.zeros(hit.shape), where=union > 0)
    occur = (union > 0).sum(axis=-1)
    return np.divide(ious.sum(axis=-1), occur, out=np.full(occur.shape, np.nan), where=occur > 0)


def summary(matrix: Matrix, names: tuple[str, ...]) -> dict:
    """Return `miou`, `pixels` and `classes`: five ratios by class name, None where a denominator is zero.

    False positives and false negatives are shares of the union of ground truth and prediction.
    """
    hit, predicted, truth = np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    union = predicted + truth - hit
    ratios = {
        "iou": (hit, union),
        "precision": (hit, predicted),
        "recall": (hit, truth),
        "false_positive": (predicted - hit, np.maximum(union, 1)),
        "false_negative": (truth - hit, np.maximum(union, 1)),
    }
    rows = {
        name: {key: float(part[k] / whole[k]) if whole[k] > 0 else None for key, (part, whole) in ratios.items()}
        for k, name in enumerate(("background", *names))
    }
    return {"miou": float(mean_iou(matrix)), "classes": rows, "pixels": int(matrix.sum())}


def boundary_counts(truth: Mask, prediction: Mask, classes: int) -> Int64[np.ndarray, "3 n"]:
    """Count the pixels of each class within 2 per cent of the diagonal of its outline: in both masks, in each mask.

    Boundary IoU (Cheng et al., CVPR 2021) is their `mean_iou_from_counts`. Void is left out of both masks.
    """
    distance = max(1, round(BOUNDARY_SHARE * float(np.hypot(*truth.shape))))
    counts = np.zeros((3, classes + 1), np.int64)
    masks = np.stack([truth, np.where(truth == IGNORE, IGNORE, prediction)])
    for k in np.flatnonzero(np.bincount(masks.ravel(), minlength=IGNORE)[:IGNORE]):
        both = [_edge(mask == k, distance) for mask in masks]
        counts[:, k] = (both[0] & both[1]).sum(), both[0].sum(), both[1].sum()
    return counts


def _edge(mask: Bool[np.ndarray, "h w"], distance: int) -> Bool[np.ndarray, "h w"]:
    """Return the pixels of a mask within `distance` of its outline or of the image's border."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=distance, borderValue=0)
    return mask & (inner == 0)


def image_weights(image: str) -> Int64[np.ndarray, " replicates"]:
    """Return the Poisson weights of the image with this id, one per bootstrap replicate."""
    return np.random.default_rng([SEED, crc32(image.encode())]).poisson(1.0, REPLICATES)


class BootstrapSums(dict[Hashable, np.ndarray]):
    """Sums of integer counts by name, int64 `(replicates, *shape)`, for the Poisson bootstrap (Chamandy et al., 2012).

    Every replicate weights each image by a Poisson variable of mean 1, which depends on the image's id alone, not on
    the order or the shards. Memory does not grow with the number of images.
    """

    def add(self, image: str, counts: Mapping[Hashable, ArrayLike]) -> None:
        """Add the integer counts of the image with this id, by name."""
        weights = image_weights(image)
        for name, count in counts.items():
            share = np.multiply.outer(weights, np.asarray(count, np.int64))
            self[name] = np.add(share, self.get(name, 0), out=share)

    def __add__(self, other: "BootstrapSums") -> "BootstrapSums":
        return BootstrapSums({name: np.add(self.get(name, 0), other.get(name, 0)) for name in self | other})


def confidence_interval(values: Float[np.ndarray, " replicates"]) -> list[float]:
    """Return [low, high], the central 95 per cent of the replicates' values; NaN is left out."""
    return np.nanpercentile(values, [2.5, 97.5]).tolist()


def _check_indices(mask: np.ndarray, classes: int, name: str) -> None:
    if mask.size and mask.max() > classes:
        expected = f"0 to {classes}, or 255 for void"
        raise SemplesError(name, f"class index {mask.max()}", expected, "check the class list")
