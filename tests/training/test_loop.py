"""The loop: resume, the guard against losses that are not finite, and strict loading."""

import json
import os
import signal

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from semples.data.training_images import TrainingBatches
from semples.errors import SemplesError
from semples.runtime.seeds import seeded
from semples.training import loop
from semples.training.loop import TrainingPlan, cosine, fit, poly, warmed_up
from semples.weights.generators import load_module, save_module


class Numbers(Dataset):
    """Inputs with noise, as augmentation draws it."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, drawn: tuple[int, int]) -> dict[str, torch.Tensor]:
        with seeded(drawn[1]):
            return {"image": torch.full((2,), drawn[0] / 12) + 0.1 * torch.rand(2)}

    def augment_batch(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return batch


class Line(nn.Module):
    """Fits the sum of the inputs; `fail_at` interrupts, `term_at` sends SIGTERM, `nan_at` spoils a step."""

    def __init__(self, fail_at: int | None = None, nan_at: set[int] | None = None, term_at: int | None = None) -> None:
        super().__init__()
        self.learner = nn.Linear(2, 1)
        self.steps, self.fail_at, self.nan_at, self.term_at = 0, fail_at, nan_at or set(), term_at

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.steps += 1
        if self.steps == self.fail_at:
            raise KeyboardInterrupt
        if self.steps == self.term_at:
            os.kill(os.getpid(), signal.SIGTERM)
        loss = (self.learner(batch["image"]).squeeze(1) - batch["image"].sum(1)).pow(2).mean()
        return {"loss": loss * float("nan") if self.steps in self.nan_at else loss}


def train(folder, epochs=4, fingerprint="same", **line) -> Line:
    torch.manual_seed(0)
    task = Line(**line)
    batches = TrainingBatches(Numbers(), 4, seed=0, workers=0)
    plan = TrainingPlan(epochs, cosine, 0, "cpu", "32-true", folder, fingerprint)
    fit(task, batches, torch.optim.AdamW(task.learner.parameters(), lr=0.1, fused=True), plan)
    return task


def losses(folder) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def save_every_step(monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY_S", -1)


def test_a_resumed_run_ends_as_an_undisturbed_one(tmp_path):
    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", fail_at=8)  # in the third of four epochs of three steps
    resumed = train(tmp_path / "broken")
    assert resumed.steps == 5
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    assert torch.equal(resumed.learner.weight, whole.learner.weight)


def test_sigterm_saves_at_its_step_and_ends(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 1e9)
    caplog.set_level("INFO")
    before = signal.getsignal(signal.SIGTERM)
    whole = train(tmp_path / "whole")
    with pytest.raises(SystemExit, match="143"):
        train(tmp_path / "broken", term_at=8)
    assert signal.getsignal(signal.SIGTERM) is before
    resumed = train(tmp_path / "broken")
    assert "resuming after epoch 2 of 4, at step 8 of 12" in caplog.text
    assert resumed.steps == 4
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    assert torch.equal(resumed.learner.weight, whole.learner.weight)


def test_a_checkpoint_of_other_settings_is_not_resumed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, fail_at=8)
    assert train(tmp_path, fingerprint="other").steps == 12


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path):
    task = train(tmp_path, nan_at={2, 5})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["skipped"] for row in rows] == [1, 1, 0, 0]
    assert torch.isfinite(task.learner.weight).all()


def test_too_many_such_steps_stop_and_keep_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "NOT_FINITE_LIMIT", 1)
    with pytest.raises(SemplesError, match="not finite in 2 steps"):
        train(tmp_path, nan_at={5, 6})
    assert (tmp_path / "last.ckpt").exists()


def test_metrics_say_speed_memory_and_rate(tmp_path):
    train(tmp_path)
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert {"epoch", "step", "loss", "lr", "images_per_s", "peak_memory_mb", "skipped"} <= set(row)


def test_schedules_end_at_zero():
    assert (cosine(0), cosine(0.5), cosine(1)) == (1, pytest.approx(0.5), pytest.approx(0))
    assert (poly(0), poly(1)) == (1, 0)


def test_strict_loading_names_the_first_mismatch(tmp_path):
    save_module(nn.Linear(2, 3), tmp_path / "model.safetensors", {"seed": "0"})
    load_module(nn.Linear(2, 3), tmp_path / "model.safetensors", "classify")
    with pytest.raises(SemplesError, match=r"weight: \(3, 2\)\n  expected: weight: \(3, 4\)"):
        load_module(nn.Linear(4, 3), tmp_path / "model.safetensors", "classify")
    with pytest.raises(SemplesError, match="make it with `semples classify`"):
        load_module(nn.Linear(2, 3), tmp_path / "nothing.safetensors", "classify")


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD])
def test_a_skipped_step_leaves_weights_and_state_as_they_were(tmp_path, make):
    weights = []
    for folder, spoiled in (("whole", set()), ("spoiled", {4, 5, 6})):  # all of the second epoch of two
        torch.manual_seed(0)
        task = Line(nan_at=spoiled)
        batches = TrainingBatches(Numbers(), 4, seed=0, workers=0)
        plan = TrainingPlan(1 + bool(spoiled), lambda share: 1.0, 0, "cpu", "32-true", tmp_path / folder, "same")
        fit(task, batches, make(task.learner.parameters(), lr=0.1, weight_decay=0.1, fused=True), plan)
        weights.append(task.learner.weight.detach().clone())
    assert torch.equal(*weights)


def test_an_optimiser_that_cannot_skip_is_refused(tmp_path):
    task = Line()
    batches = TrainingBatches(Numbers(), 4, seed=0, workers=0)
    with pytest.raises(ValueError, match="fused"):
        fit(
            task,
            batches,
            torch.optim.SGD(task.parameters(), lr=1),
            TrainingPlan(1, cosine, 0, "cpu", "32-true", tmp_path, ""),
        )


def test_the_best_epoch_is_kept_also_after_a_resume(tmp_path):
    scores = iter([0.1, 0.9, 0.3, 0.2])
    weights = []

    def run(task: Line) -> None:
        batches = TrainingBatches(Numbers(), 4, seed=0, workers=0)

        def score() -> float:
            weights.append(task.learner.weight.detach().clone())
            return next(scores)

        plan = TrainingPlan(4, cosine, 0, "cpu", "32-true", tmp_path, "same", score=score)
        fit(task, batches, torch.optim.AdamW(task.learner.parameters(), lr=0.1, fused=True), plan)

    with pytest.raises(KeyboardInterrupt):
        run(Line(fail_at=8))
    resumed = Line()
    run(resumed)
    assert len(weights) == 4
    assert torch.equal(resumed.learner.weight, weights[1])
    rows = [json.loads(line)["selection"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [0.1, 0.9, 0.3, 0.2]


def test_accumulated_batches_make_the_step_of_a_large_one(tmp_path):
    weights = []
    for folder, size, accumulate in (("large", 4, 1), ("small", 2, 2)):
        torch.manual_seed(0)
        task = Line()
        batches = TrainingBatches(Numbers(), size, seed=0, workers=0)
        plan = TrainingPlan(2, poly, 0, "cpu", "32-true", tmp_path / folder, "same", accumulate=accumulate)
        fit(task, batches, torch.optim.SGD(task.learner.parameters(), lr=0.1, momentum=0.9, fused=True), plan)
        weights.append(task.learner.weight.detach().clone())
    assert torch.allclose(*weights, atol=1e-6)


def test_one_spoiled_batch_skips_the_whole_accumulated_step(tmp_path):
    weights = []
    for folder, spoiled in (("first", {1}), ("second", {2})):
        torch.manual_seed(0)
        task = Line(nan_at=spoiled)
        before = task.learner.weight.detach().clone()
        batches = TrainingBatches(Numbers(), 6, seed=0, workers=0)
        plan = TrainingPlan(1, poly, 0, "cpu", "32-true", tmp_path / folder, "same", accumulate=2)
        fit(task, batches, torch.optim.SGD(task.learner.parameters(), lr=0.1, fused=True), plan)
        weights += [before, task.learner.weight.detach()]
    assert all(torch.equal(weights[0], other) for other in weights)


def test_the_running_average_is_watched_and_kept(tmp_path):
    steps, seen = [], []
    torch.manual_seed(0)
    task = Line()
    batches = TrainingBatches(Numbers(), 4, seed=0, workers=0)
    optimizer = torch.optim.SGD(task.learner.parameters(), lr=0.1, fused=True)
    optimizer.register_step_post_hook(lambda *_: steps.append(task.learner.weight.detach().clone()))

    def extra_metrics(learner: nn.Module) -> dict[str, float]:
        seen.append(learner.weight.detach().clone())
        return {"watched": 1.5}

    more = {"ema": 0.5, "extra_metrics": extra_metrics}
    fit(task, batches, optimizer, TrainingPlan(1, poly, 0, "cpu", "32-true", tmp_path, "same", **more))
    expected = steps[0]
    for weight in steps[1:]:
        expected = 0.5 * expected + 0.5 * weight
    assert torch.allclose(task.learner.weight, expected)
    assert torch.equal(seen[0], task.learner.weight)
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["watched"] == 1.5


def test_a_warm_up_rises_to_the_schedule():
    schedule = warmed_up(poly, 0.25)
    assert schedule(0) == 0
    assert schedule(0.125) == pytest.approx(0.5 * poly(0.125))
    assert schedule(0.25) == poly(0.25)
    assert warmed_up(poly, 0)(0) == 1


def test_synchronised_batch_normalisation_keeps_the_parameters_that_the_optimiser_has():
    task = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    before = list(task.parameters())
    nn.SyncBatchNorm.convert_sync_batchnorm(task)
    assert isinstance(task[1][0], nn.SyncBatchNorm)
    assert all(one is other for one, other in zip(before, task.parameters(), strict=True))
