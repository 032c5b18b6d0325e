"""Superpixels: regions of like colour in an image, and the scores of maps in them."""

import numpy as np
from jaxtyping import Float, Int, UInt8

from semples.config.settings import Superpixels
from semples.errors import SemplesError
from semples.inference.cam_masks import cam_masks


def region_means(
    score: Float[np.ndarray, "labels h w"], image: UInt8[np.ndarray, "h w 3"], settings: Superpixels
) -> Float[np.ndarray, "labels h w"]:
    """Return maps, float32, in which every pixel has the score of its region, averaged over all segmentations."""
    values = cam_masks(score, settings.threshold) if settings.score == "vote" else score
    total = np.zeros(score.shape)
    for size in settings.sizes:
        regions = segmented(image, size, settings)
        count = np.bincount(regions.ravel())
        for plane, value in zip(total, values, strict=True):
            plane += (np.bincount(regions.ravel(), value.ravel(), len(count)) / np.maximum(count, 1))[regions]
    return (total / len(settings.sizes)).astype(np.float32)


def segmented(image: UInt8[np.ndarray, "h w 3"], size: float, settings: Superpixels) -> Int[np.ndarray, "h w"]:
    """Return the region of every pixel, from 0, by Felzenszwalb and Huttenlocher (2004) or by SLIC (2012).

    Args:
        size: One of `sizes`, the scale of the first and the number of regions of the second.
    """
    try:
        from skimage.segmentation import felzenszwalb, slic
    except ImportError as error:
        expected, remedy = "the package that finds superpixels", "`pip install scikit-image`, or another `refine.kind`"
        raise SemplesError("scikit-image", "not installed", expected, remedy) from error
    if settings.method == "felzenszwalb":
        return felzenszwalb(image, scale=size, sigma=settings.sigma, min_size=settings.least_pixels)
    compact = settings.compactness
    return slic(image, n_segments=max(1, round(size)), compactness=compact, sigma=settings.sigma, start_label=0)
