"""docs/reliability.md names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_row_names_tests_that_are_there():
    rows = re.findall(r"^\|.*\|$", (ROOT / "docs/reliability.md").read_text(encoding="utf-8"), re.MULTILINE)
    rows = [row for row in rows if not row.startswith(("| ---", "| input", "| fault"))]
    assert len(rows) > 50
    for row in rows:
        names = re.findall(r"`(\S+/test_\w+\.py)`", row.rpartition(" | ")[2])
        assert names, row
        for name in names:
            assert (ROOT / "tests" / name).is_file(), name
