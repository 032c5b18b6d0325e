"""What the fault tests tried; `make faults` prints it. tests/conftest.py imports its hooks."""

from collections import Counter

import pytest

TOTALS: Counter[str] = Counter()


def tried(kind: str, count: int = 1) -> None:
    """Count what a test did besides its own pass: "kills survived", "bad files tried" or "hostile inputs refused"."""
    TOTALS[kind] += count


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Count each passed test with the mark `fault` under its kind."""
    report = yield
    if report.when == "call" and report.passed:
        for marker in item.iter_markers("fault"):
            tried(marker.args[0])
    return report


def pytest_terminal_summary(terminalreporter):
    """Print the totals."""
    for kind in sorted(TOTALS):
        terminalreporter.write_line(f"{TOTALS[kind]:6} {kind}")
