"""Background thresholds: the grid of the threshold curve, and Otsu's threshold, which needs no ground truth."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64, Num

from semples.config.settings import Settings
from semples.data.cam_file import CamFile
from semples.evaluation.metrics import Thresholds
from semples.evaluation.threshold_counts import score_histogram


def otsu_index(histogram: Int64[np.ndarray, " n"], values: Num[np.ndarray, " n"]) -> int:
    """Return where Otsu (1979) starts the upper class; `histogram` counts the pixels at the ascending `values`."""
    low = histogram.cumsum().astype(float)
    moment = (histogram * values).cumsum()
    high = low[-1] - low
    difference = moment[-1] * low - moment * low[-1]
    between = np.divide(difference**2, low * high, out=np.zeros_like(low), where=(low > 0) & (high > 0))
    return min(int(between.argmax()) + 1, len(values) - 1)


def threshold_grid(settings: Settings) -> Thresholds:
    """Return the thresholds of the curve, ascending in [0, 1)."""
    return np.arange(settings.evaluate.thresholds) / settings.evaluate.thresholds


def label_free_threshold(settings: Settings, cams: Path) -> float:
    """Return Otsu's threshold between the low and the high scores of all pixels in a file of CAMs."""
    thresholds = threshold_grid(settings)
    with CamFile(cams) as file:
        histograms = (score_histogram(file.read(image).score, thresholds) for image in file.ids)
        histogram = sum(histograms, np.zeros(len(thresholds), np.int64))
    return float(thresholds[otsu_index(histogram, thresholds)])
