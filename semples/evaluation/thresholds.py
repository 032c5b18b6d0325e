"""Background thresholds: their grid, pixel counts that give the confusion matrix at each, and Otsu's threshold.

Counts are integers, which add up over images and shards. semples.evaluation.metrics explains the arguments.
"""

from collections.abc import Hashable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, Num

from semples.config.settings import Settings
from semples.data.cam_file import CamFile
from semples.evaluation import metrics


class ThresholdCounts:
    """The threshold histogram of many images, and the sums that give mIoU in every bootstrap replicate.

    `replicates` has int64 (replicates, bins): ("hit", k) and ("predicted", k) of the pixels that class k wins,
    "background hit" and "pixels" of all pixels; and "truth", int64 (replicates, classes + 1).
    """

    def __init__(self, thresholds: metrics.Thresholds, classes: int) -> None:
        self.thresholds, self.classes, self.images = thresholds, classes, 0
        self.histogram = np.zeros((len(thresholds) + 1, classes + 1, classes), np.int64)
        self.replicates = metrics.BootstrapSums()

    def add(self, image: str, truth: metrics.Mask, score: metrics.Scores, present: metrics.Present) -> None:
        """Count the pixels of the image with the id `image`."""
        histogram = metrics.threshold_histogram(truth, score, present, self.thresholds, self.classes)
        counts: dict[Hashable, np.ndarray] = {("hit", k): histogram[:, k + 1, k] for k in present.tolist()}
        counts |= {("predicted", k): histogram[:, :, k].sum(axis=1) for k in present.tolist()}
        counts["background hit"], counts["pixels"] = histogram[:, 0].sum(axis=1), histogram.sum(axis=(1, 2))
        self.replicates.add(image, counts | {"truth": histogram.sum(axis=(0, 2))})
        self.histogram += histogram
        self.images += 1

    def __add__(self, other: "ThresholdCounts") -> "ThresholdCounts":
        total = ThresholdCounts(self.thresholds, self.classes)
        total.histogram, total.images = self.histogram + other.histogram, self.images + other.images
        total.replicates = self.replicates + other.replicates
        return total

    def matrices(self) -> metrics.Matrix:
        """Return the confusion matrix at every threshold."""
        return metrics.threshold_confusions(self.histogram)

    def bootstrap_miou(self, index: int) -> Float[np.ndarray, " replicates"]:
        """Return mIoU at `thresholds[index]` in every bootstrap replicate."""
        sums = self.replicates
        truth = sums["truth"]
        hit, predicted = np.zeros_like(truth), np.zeros_like(truth)
        hit[:, 0], predicted[:, 0] = (sums[name][:, : index + 1].sum(axis=1) for name in ("background hit", "pixels"))
        for name, k in (key for key in sums if isinstance(key, tuple)):
            (hit if name == "hit" else predicted)[:, k + 1] = sums[name, k][:, index + 1 :].sum(axis=1)
        return metrics.mean_iou_from_counts(hit, truth, predicted)


def threshold_grid(settings: Settings) -> metrics.Thresholds:
    """Return the thresholds of the curve, ascending in [0, 1)."""
    return np.arange(settings.evaluate.thresholds) / settings.evaluate.thresholds


def score_histogram(score: metrics.Scores, thresholds: metrics.Thresholds) -> Int64[np.ndarray, " thresholds"]:
    """Count the pixels whose best score exceeds each threshold and not the next; scores of 0 count in the first."""
    bins = metrics.count_exceeded(score.max(axis=0).ravel(), thresholds)
    return np.bincount(np.maximum(bins - 1, 0), minlength=len(thresholds))


def otsu_index(histogram: Int64[np.ndarray, " n"], values: Num[np.ndarray, " n"]) -> int:
    """Return where Otsu (1979) starts the upper class; `histogram` counts the pixels at the ascending `values`."""
    low, moment = histogram.cumsum().astype(float), (histogram * values).cumsum()
    high = low[-1] - low
    difference = moment[-1] * low - moment * low[-1]
    between = np.divide(difference**2, low * high, out=np.zeros_like(low), where=(low > 0) & (high > 0))
    return min(int(between.argmax()) + 1, len(values) - 1)


def label_free_threshold(settings: Settings, cams: Path) -> float:
    """Return Otsu's threshold between the low and the high scores of all pixels in a file of CAMs."""
    thresholds = threshold_grid(settings)
    with CamFile(cams) as file:
        histogram = np.sum([score_histogram(file.read(image).score, thresholds) for image in file.ids], axis=0)
    return float(thresholds[otsu_index(histogram, thresholds)])
