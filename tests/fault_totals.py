"""What the tests of tests/faults tried; `make faults` prints it."""

from collections import Counter

TOTALS: Counter[str] = Counter()


def tried(kind: str, count: int = 1) -> None:
    """Count what a test did besides its own pass: "kills survived", "bad files tried" or "hostile inputs refused"."""
    TOTALS[kind] += count
