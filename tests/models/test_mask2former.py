"""Mask2Former, made small: its scores, its loss, and what void does to it."""

import pytest
import torch

pytest.importorskip("transformers", reason="the optional extra mask2former is not installed")

from semples.models.segment_task import SegmentTask
from semples.models.segmenters import Segmenter, mask2former


@pytest.fixture
def small(monkeypatch) -> Segmenter:
    """The network of three classes with a Swin of one block a stage and ten queries."""
    monkeypatch.setitem(mask2former.SWIN, "swin-tiny", (16, (1, 1, 1, 1), (1, 2, 2, 2), 4, ""))
    monkeypatch.setattr(mask2former, "QUERIES", 10)
    torch.manual_seed(0)
    return Segmenter("mask2former", "swin-tiny", classes=3, decoder_channels=32)


def batch(*sides: int) -> dict[str, torch.Tensor]:
    image, mask = torch.rand(2, 3, *sides), torch.zeros(2, *sides, dtype=torch.long)
    mask[:, 8:24, 8:24] = 2
    image[:, 0][mask == 2] = 1
    return {"image": image, "mask": mask}


def test_scores_are_logarithms_of_shares(small):
    with torch.no_grad():
        scores = small.eval()(torch.rand(2, 3, 40, 56))
    assert scores.shape == (2, 4, 40, 56)
    assert scores.max() < torch.tensor(100.0).log()  # at most one a query
    assert torch.allclose(scores.softmax(1).sum(1), torch.ones(2, 40, 56))


def test_it_learns(small):
    task, data = SegmentTask(small).train(), batch(32, 32)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-3)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        losses.append(task(data)["loss"])
        losses[-1].backward()
        optimizer.step()
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_void_costs_nothing_and_one_void_image_spoils_none(small):
    task, data = SegmentTask(small).train(), batch(64, 64)
    nothing = task({**data, "mask": torch.full_like(data["mask"], 255)})["loss"]
    nothing.backward()
    assert nothing == 0
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in small.parameters())
    data["mask"][0] = 255
    assert torch.isfinite(task(data)["loss"])
