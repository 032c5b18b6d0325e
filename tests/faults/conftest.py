"""Totals of the fault tests, and how many inputs Hypothesis draws: few in `make test`, many in `make faults`."""

import pytest
from fault_totals import TOTALS, tried
from hypothesis import HealthCheck, settings

LAX = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile("tests", max_examples=40, derandomize=True, **LAX)
settings.register_profile("faults", max_examples=2000, **LAX)
settings.load_profile("tests")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.passed:
        for marker in item.iter_markers("fault"):
            tried(marker.args[0])
    return report


def pytest_terminal_summary(terminalreporter):
    for kind in sorted(TOTALS):
        terminalreporter.write_line(f"{TOTALS[kind]:6} {kind}")
