"""`make bench` in small: a page with a row for what was measured, and numbers that agree."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.memory import Live, peak
from semples.config.load import load
from semples.planning.cost import Size

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


def test_tensors_that_live_at_the_same_time_are_counted():
    with FakeTensorMode(), Live() as live:
        weight, values = torch.empty(100, 100, requires_grad=True), torch.empty(100, 100)
        for _ in range(3):
            values = (values @ weight).exp()  # keeps its result; the product is freed
        assert live.bytes == 5 * 40_000
        values.sum().backward()
        del values
    assert live.bytes == pytest.approx(2 * 40_000, abs=100)  # the weight and its gradient
    assert live.peak == pytest.approx(8 * 40_000, abs=100)  # and three gradients


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["classify", "joint", "cams", "segment"])
def test_parts_and_checkpointing_lower_the_peak(stage):
    run, size = {"checkpointing": True}, Size(100, 10, 64.0**2, 1.5, 6)
    section = "csr" if stage == "joint" else stage
    less = {"batch": 32} if section == "cams" else {"accumulate": 2}
    base = {"generator": {"name": "weaktr", "backbone": "deit_tiny_patch16_224"}, "cams": {"batch": 64}}
    whole, parts, again = (
        peak(stage, load({"preset": "mini", **base, **changes}), size)
        for changes in ({}, {section: less}, {"run": run})
    )
    assert 0.4 * whole < parts < 0.9 * whole
    assert (again < 0.9 * whole) == (stage in ("classify", "joint"))
