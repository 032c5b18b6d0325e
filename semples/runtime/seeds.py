"""Random numbers that depend on what they are for, and not on who draws them, in which order, or how often before."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*numbers: int) -> int:
    """A seed of 63 bits from numbers that are not negative; near ones give unrelated seeds (numpy's SeedSequence)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within the block torch's CPU generator starts from `seed`; afterwards it is as it was."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would touch the GPU's too
    try:
        yield
    finally:
        torch.set_rng_state(state)
