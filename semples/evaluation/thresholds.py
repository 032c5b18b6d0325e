"""Background thresholds: the grid of the curve, and the one that needs no ground truth."""

from pathlib import Path

import numpy as np

from semples.config.settings import Settings
from semples.data.cam_file import CamFile
from semples.evaluation.threshold_counts import score_histogram


def otsu_index(histogram: np.ndarray, values: np.ndarray) -> int:
    """First place of the higher side of the cut that leaves the least variance within both sides (Otsu, 1979).

    `histogram` counts (n,) at ascending `values` (n,).
    """
    low = histogram.cumsum().astype(float)
    moment = (histogram * values).cumsum()
    high = low[-1] - low
    apart = moment[-1] * low - moment * low[-1]
    between = np.divide(apart**2, low * high, out=np.zeros_like(low), where=(low > 0) & (high > 0))
    return min(int(between.argmax()) + 1, len(values) - 1)


def threshold_grid(settings: Settings) -> np.ndarray:
    """The thresholds of the curve, float64 ascending in [0, 1)."""
    return np.arange(settings.evaluate.thresholds) / settings.evaluate.thresholds


def label_free_threshold(settings: Settings, cams: Path) -> float:
    """Otsu's cut between the low and the high scores of all pixels of a file of CAMs."""
    thresholds = threshold_grid(settings)
    with CamFile(cams) as file:
        total = sum(score_histogram(file.read(image).score, thresholds) for image in file.ids)
    return float(thresholds[otsu_index(total, thresholds)])
