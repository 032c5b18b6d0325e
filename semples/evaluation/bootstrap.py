"""Confidence intervals over images, in memory that does not grow with their number.

The Poisson bootstrap (Chamandy et al., 2012): in each of many replicates an image counts as often as a Poisson variable
of mean 1 says. Every replicate is a sum that images are added to, so that none has to be kept. An image's draws depend
on its id alone: order and shards change nothing.
"""

from collections.abc import Mapping
from zlib import crc32

import numpy as np

REPLICATES = 1000
LEVEL = 95  # per cent
SEED = 20


def draws(image: str) -> np.ndarray:
    """How often an image counts in every replicate, int64 (replicates,)."""
    return np.random.default_rng([SEED, crc32(image.encode())]).poisson(1.0, REPLICATES)


class Replicates:
    """Sums of integer counts by name, one of each replicate: int64 (replicates, *shape of the counts)."""

    def __init__(self) -> None:
        self.sums: dict[object, np.ndarray] = {}

    def add(self, image: str, counts: Mapping[object, np.ndarray]) -> None:
        """Add an image's counts."""
        times = draws(image)
        for name, count in counts.items():
            share = np.multiply.outer(times, np.asarray(count, np.int64))
            if name in self.sums:
                self.sums[name] += share
            else:
                self.sums[name] = share

    def __add__(self, other: "Replicates") -> "Replicates":
        both = Replicates()
        for part in (self, other):
            for name, found in part.sums.items():
                both.sums[name] = both.sums[name] + found if name in both.sums else found
        return both


def interval(values: np.ndarray) -> list[float]:
    """[low, high] that holds 95 per cent of the replicates' values (replicates,)."""
    tail = (100 - LEVEL) / 2
    return [float(edge) for edge in np.nanpercentile(values, [tail, 100 - tail])]
