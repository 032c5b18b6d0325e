"""`make bench` in small: a page with a row for what was measured, and numbers that agree."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def bench(out: Path, *flags: str) -> str:
    command = [sys.executable, "-m", "benchmarks", "--images", "6", "--threads", "1", "--device", "cpu", *flags]
    done = subprocess.run([*command, "--out", str(out)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return out.read_text()


@pytest.mark.slow
def test_cams_and_evaluation_agree_with_the_plain_way(tmp_path):
    found = json.loads(bench(tmp_path / "rows.json", "--only", "cams", "evaluate"))
    rows = {(row["step"], row["measured"]): row for row in found["rows"]}
    difference = rows["cams", "at equal results"]["agreement"]
    assert float(difference.rpartition(" ")[2]) < 1e-4
    assert "mIoU 0 points" in rows["evaluate", "curve of 100 thresholds alone"]["agreement"]
    assert all(row["plain"] > 0 and row["ours"] > 0 for row in found["rows"])


@pytest.mark.slow
def test_page_says_where_it_was_measured(tmp_path):
    text = bench(tmp_path / "page.md", "--only", "store")
    assert "drawn pictures" in text
    assert re.search(r"\| store +\| size, stride 4, float16 +\|", text)
    assert "torch" in text
    assert str(tmp_path) not in text
