"""What a pass over CAMs and true masks counts: integers that add up over images and shards."""

import numpy as np

from semples.evaluation.bootstrap import BootstrapSums
from semples.evaluation.metrics import count_exceeded, mean_iou_from_counts, threshold_confusions, threshold_histogram


class ThresholdCounts:
    """Counts of which every threshold's confusion matrix follows, and the same of every bootstrap replicate.

    Of a replicate only what mIoU takes is kept, by class k from 0 and by bin of the threshold histogram: ("hit", k),
    ("found", k) count pixels that k wins, (bins,); "background hit" and "pixels" all pixels of a bin, whoever wins;
    "truth" the pixels of each true class.
    """

    def __init__(self, thresholds: np.ndarray, classes: int) -> None:
        self.thresholds, self.classes, self.images = thresholds, classes, 0
        self.histogram = np.zeros((len(thresholds) + 1, classes + 1, classes), np.int64)
        self.replicates = BootstrapSums()

    def add(self, image: str, truth: np.ndarray, score: np.ndarray, present: np.ndarray) -> None:
        """Count an image: `truth` uint8 (h, w), `score` float (present classes, h, w), class indices from 0."""
        found = threshold_histogram(truth, score, present, self.thresholds, self.classes)
        counts = {("hit", k): found[:, k + 1, k] for k in present.tolist()}
        counts |= {("found", k): found[:, :, k].sum(axis=1) for k in present.tolist()}
        counts |= {"background hit": found[:, 0].sum(axis=1), "pixels": found.sum(axis=(1, 2))}
        self.replicates.add(image, counts | {"truth": found.sum(axis=(0, 2))})
        self.histogram += found
        self.images += 1

    def __add__(self, other: "ThresholdCounts") -> "ThresholdCounts":
        both = ThresholdCounts(self.thresholds, self.classes)
        both.histogram, both.images = self.histogram + other.histogram, self.images + other.images
        both.replicates = self.replicates + other.replicates
        return both

    def matrices(self) -> np.ndarray:
        """Confusion matrices int64 (thresholds, classes + 1, classes + 1)."""
        return threshold_confusions(self.histogram)

    def bootstrap_miou(self, place: int) -> np.ndarray:
        """mIoU (replicates,) at the threshold of that place."""
        sums = self.replicates.sums
        truth = sums["truth"]
        hit, found = np.zeros_like(truth), np.zeros_like(truth)
        hit[:, 0], found[:, 0] = (sums[name][:, : place + 1].sum(axis=1) for name in ("background hit", "pixels"))
        for name, k in (key for key in sums if isinstance(key, tuple)):
            (hit if name == "hit" else found)[:, k + 1] = sums[name, k][:, place + 1 :].sum(axis=1)
        return mean_iou_from_counts(hit, truth, found)


def score_histogram(score: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many pixels' best score, of (present classes, h, w), is above each threshold and no further one.

    int64 (thresholds,); scores of 0 count in the first.
    """
    bins = count_exceeded(score.max(axis=0).ravel(), thresholds)
    return np.bincount(np.maximum(bins - 1, 0), minlength=len(thresholds))
