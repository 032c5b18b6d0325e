"""Confidence intervals over images by the Poisson bootstrap (Chamandy et al., 2012).

Every replicate weights each image by a Poisson variable of mean 1. The weighted counts of an image are added to one sum
per replicate, so that memory does not grow with the number of images. The weights of an image depend on its id alone:
the order of images and their distribution over shards change nothing.
"""

from collections.abc import Hashable, Mapping
from zlib import crc32

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import ArrayLike

REPLICATES = 1000
LEVEL = 95  # per cent
SEED = 20


def image_weights(image: str) -> Int64[np.ndarray, " replicates"]:
    """Return the Poisson weights of the image with this id, one per bootstrap replicate."""
    return np.random.default_rng([SEED, crc32(image.encode())]).poisson(1.0, REPLICATES)


class BootstrapSums:
    """Weighted sums of integer counts: `sums` maps a name to int64 (replicates, *shape of the counts)."""

    def __init__(self) -> None:
        self.sums: dict[Hashable, np.ndarray] = {}

    def add(self, image: str, counts: Mapping[Hashable, ArrayLike]) -> None:
        """Add the integer counts of the image with this id, by name."""
        weights = image_weights(image)
        for name, count in counts.items():
            share = np.multiply.outer(weights, np.asarray(count, np.int64))
            if name not in self.sums:
                self.sums[name] = np.zeros_like(share)
            self.sums[name] += share

    def __add__(self, other: "BootstrapSums") -> "BootstrapSums":
        total = BootstrapSums()
        total.sums = {name: np.add(self.sums.get(name, 0), other.sums.get(name, 0)) for name in self.sums | other.sums}
        return total


def confidence_interval(values: Float[np.ndarray, " replicates"]) -> list[float]:
    """Return [low, high], the central 95 per cent of the replicates' values; NaN is left out."""
    tail = (100 - LEVEL) / 2
    return [float(edge) for edge in np.nanpercentile(values, [tail, 100 - tail])]
