"""Confidence intervals over images by the Poisson bootstrap (Chamandy et al., 2012).

Every replicate weights each image by a Poisson variable of mean 1. The weighted counts of an image are added to one sum
per replicate, so that memory does not grow with the number of images. The weights of an image depend on its id alone:
the order of images and their distribution over shards change nothing.
"""

from collections.abc import Hashable, Mapping
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike

REPLICATES = 1000
LEVEL = 95  # per cent
SEED = 20


def image_weights(image: str) -> np.ndarray:
    """Return the Poisson weights of the image with this id, one per bootstrap replicate: int64 (replicates,)."""
    return np.random.default_rng([SEED, crc32(image.encode())]).poisson(1.0, REPLICATES)


class BootstrapSums:
    """Weighted sums of integer counts: `sums` maps a name to int64 (replicates, *shape of the counts)."""

    def __init__(self) -> None:
        self.sums: dict[Hashable, np.ndarray] = {}

    def add(self, image: str, counts: Mapping[Hashable, ArrayLike]) -> None:
        """Add the integer counts of the image with this id, by name."""
        weights = image_weights(image)
        for name, count in counts.items():
            self._add(name, np.multiply.outer(weights, np.asarray(count, np.int64)))

    def __add__(self, other: "BootstrapSums") -> "BootstrapSums":
        total = BootstrapSums()
        for part in (self, other):
            for name, counts in part.sums.items():
                total._add(name, counts.copy())
        return total

    def _add(self, name: Hashable, counts: np.ndarray) -> None:
        if name in self.sums:
            self.sums[name] += counts
        else:
            self.sums[name] = counts


def confidence_interval(values: np.ndarray) -> list[float]:
    """Return [low, high], the central 95 per cent of the replicates' values (replicates,), without NaN."""
    tail = (100 - LEVEL) / 2
    return [float(edge) for edge in np.nanpercentile(values, [tail, 100 - tail])]
