"""Random numbers that depend on their purpose alone, not on the process, the order or the number of earlier draws."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*numbers: int) -> int:
    """Return a 63-bit seed from non-negative numbers; close numbers give unrelated seeds (numpy's SeedSequence)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Start the global CPU generators of torch and of Python from `seed` within the block; restore them afterwards."""
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would touch the GPU's too
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(state)
