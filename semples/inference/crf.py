"""The dense CRF: from scores and an image to label probabilities."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from semples.config.settings import Crf
from semples.data.cam_file import ImageCams
from semples.data.images import read_image
from semples.errors import SemplesError


class Kernels(NamedTuple):
    """Pairwise terms of a CRF: standard deviations in pixels (sxy) and grey levels (srgb), weights (compat).

    `soft`: the unary term is made of the scores themselves, else of their winner (`unary_energy`).
    """

    gaussian_sxy: float
    gaussian_compat: float
    bilateral_sxy: float
    bilateral_srgb: float
    bilateral_compat: float
    soft: bool


PRESETS = {
    "weaktr": Kernels(4, 3, 83, 5, 3, soft=False),
    "irn": Kernels(3, 3, 50, 5, 10, soft=False),
    "deeplab": Kernels(1, 3, 67, 3, 4, soft=True),
    "psa": Kernels(3, 3, 80, 13, 10, soft=True),
    "mini": Kernels(1, 3, 10, 13, 4, soft=False),
}
LABEL_CONFIDENCE = 0.7
LEAST_PROBABILITY = 1e-5


def dense_crf(image: np.ndarray, unary: np.ndarray, kernels: Kernels, iterations: int) -> np.ndarray:
    """Return the probability of every label, float32 (labels, height, width).

    Args:
        image: RGB uint8 (height, width, 3).
        unary: Negative log probabilities, float32 (labels, height, width).
    """
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError as error:
        expected, remedy = "the package that computes the CRF", "`pip install pydensecrf2`, or set `crf.preset: none`"
        raise SemplesError("pydensecrf", "not installed", expected, remedy) from error
    labels, height, width = unary.shape
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(labels, -1), dtype=np.float32))
    crf.addPairwiseGaussian(sxy=kernels.gaussian_sxy, compat=kernels.gaussian_compat)
    pixels, sxy, srgb = np.ascontiguousarray(image), kernels.bilateral_sxy, kernels.bilateral_srgb
    crf.addPairwiseBilateral(sxy=sxy, srgb=srgb, rgbim=pixels, compat=kernels.bilateral_compat)
    return np.asarray(crf.inference(iterations)).reshape(labels, height, width)


def unary_energy(score: np.ndarray, threshold: float, soft: bool) -> np.ndarray:
    """Return negative log probabilities, float32 (present + 1, h, w), background first.

    Args:
        score: (present, h, w) in [0, 1].
        threshold: Score of the background.
        soft: Probabilities are the scores, background included, scaled to sum to one. Otherwise the label with the
            highest score has probability 0.7, and the others share the rest equally.
    """
    planes = _planes(score, threshold)
    if soft:
        probability = _scaled(planes)
    else:
        winner = planes.argmax(axis=0) == np.arange(len(planes))[:, None, None]
        probability = np.where(winner, LABEL_CONFIDENCE, (1 - LABEL_CONFIDENCE) / len(score))
    return -np.log(np.clip(probability, LEAST_PROBABILITY, 1)).astype(np.float32)


def _planes(score: np.ndarray, threshold: float) -> np.ndarray:
    """Return the scores (present, h, w) after a background plane of the threshold: (present + 1, h, w)."""
    return np.concatenate([np.full_like(score[:1], threshold), score])


def _scaled(planes: np.ndarray) -> np.ndarray:
    planes[0, planes.sum(axis=0) == 0] = 1  # as in all masks, the background wins a tie
    return planes / planes.sum(axis=0, keepdims=True)


def label_probability(maps: ImageCams, photo: Path, settings: Crf, threshold: float) -> np.ndarray:
    """Return the probabilities of background and present classes, float32 (present + 1, height, width)."""
    score = maps.full_size()
    if settings.preset == "none":
        return _scaled(_planes(score, threshold))
    kernels = PRESETS[settings.preset]
    return dense_crf(read_image(photo), unary_energy(score, threshold, kernels.soft), kernels, settings.iterations)
