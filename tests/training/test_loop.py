"""The loop: resume, the guard against losses that are not finite, and strict loading."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from semples.data.training_images import TrainingBatches
from semples.errors import SemplesError
from semples.models.parts import mean_weights, split
from semples.runtime.seeds import seeded
from semples.training import loop
from semples.training.loop import TrainingPlan, cosine, cosine_by_epochs, fit, poly, warmed_up
from semples.weights.generators import load_module, save_module


class Numbers(Dataset):
    """Inputs with noise, as augmentation draws it."""

    ids = tuple(f"image {number}" for number in range(12))

    def __len__(self) -> int:
        return 12

    def __getitem__(self, drawn: tuple[int, int]) -> dict[str, torch.Tensor]:
        with seeded(drawn[1]):
            return {"image": torch.full((2,), drawn[0] / 12) + 0.1 * torch.rand(2)}

    def augment_batch(self, batch: dict[str, torch.Tensor], _device: torch.device) -> dict[str, torch.Tensor]:
        return batch


class Line(nn.Module):
    """Fits the sum of the inputs; at numbers of steps it interrupts, sends SIGTERM, or spoils a step or the weights."""

    def __init__(self, *, fail_at=None, nan_at=(), term_at=None, infinite_at=None, spoils="loss") -> None:
        super().__init__()
        self.learner = nn.Linear(2, 1)
        self.steps, self.fail_at, self.nan_at, self.term_at = 0, fail_at, nan_at, term_at
        self.infinite_at, self.spoils = infinite_at, spoils

    def parts(self, batch: dict[str, torch.Tensor], count: int, pad: bool = False) -> list[dict[str, torch.Tensor]]:
        return split(batch | {"weight": mean_weights(torch.ones(len(batch["image"])))}, count)

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.steps += 1
        if self.steps == self.fail_at:
            raise KeyboardInterrupt
        if self.steps == self.term_at:
            os.kill(os.getpid(), signal.SIGTERM)
        loss = ((self.learner(batch["image"]).squeeze(1) - batch["image"].sum(1)).pow(2) * batch["weight"]).sum()
        if self.steps == self.infinite_at:
            self.learner.weight.data.fill_(float("inf"))
        if self.steps in self.nan_at:
            zero = (self.learner.weight - self.learner.weight.detach()).sum()
            loss = loss * float("nan") if self.spoils == "loss" else loss + zero.abs().sqrt()  # slope inf * 0 at 0
        return {"loss": loss}


def train(folder, epochs=4, fingerprint="same", batch=4, score=None, skipped_steps=10, schedule=cosine, **line) -> Line:
    torch.manual_seed(0)
    task = Line(**line)
    batches = TrainingBatches(Numbers(), batch, seed=0, workers=0)
    plan = {"score": score, "skipped_steps": skipped_steps}
    plan = TrainingPlan(epochs, schedule, 0, "cpu", "32-true", folder, fingerprint, **plan)
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


@pytest.mark.parametrize("spoils", ["loss", "gradient"])
@pytest.mark.parametrize("length", [1, 3, 12])
def test_too_many_such_steps_in_a_row_stop_it_however_long_an_epoch_is(tmp_path, spoils, length):
    spoiled = set(range(5, 30))
    with pytest.raises(SemplesError) as error:
        train(tmp_path, epochs=36 // length, batch=12 // length, skipped_steps=4, spoils=spoils, nan_at=spoiled)
    assert f"training, epoch {-(-5 // length)}, step 5, learning rate 0.0" in str(error.value)
    assert "4 steps in a row that are not finite" in str(error.value)
    order = TrainingBatches(Numbers(), 12 // length, seed=0, workers=0).ids((5 - 1) // length, (5 - 1) % length)
    assert len(order) == 12 // length
    assert str(error.value).endswith(", ".join(order))


def test_skipped_steps_are_counted_over_a_resume(tmp_path):
    with pytest.raises(SystemExit):
        train(tmp_path, term_at=6, nan_at={5, 6}, skipped_steps=4)
    with pytest.raises(SemplesError, match="4 steps in a row"):
        train(tmp_path, nan_at={1, 2}, skipped_steps=4)


def test_a_few_skipped_steps_with_good_ones_between_are_no_error(tmp_path):
    train(tmp_path, nan_at={2, 3, 5, 6, 8, 9}, skipped_steps=3)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["skipped"] for row in rows] == [2, 2, 2, 0]


def test_the_mean_over_no_step_is_null(tmp_path):
    train(tmp_path, nan_at={4, 5, 6})
    assert [loss is None for loss in losses(tmp_path)] == [False, True, False, False]


@pytest.mark.parametrize(("epochs", "nan_at"), [(4, {10, 11, 12}), (1, {2, 3}), (1, {1, 2, 3})])
def test_a_run_that_ends_in_skipped_steps_is_an_error(tmp_path, epochs, nan_at):
    with pytest.raises(SemplesError, match="steps in a row that are not finite"):
        train(tmp_path, epochs=epochs, nan_at=nan_at)


def test_weights_that_are_not_finite_are_an_error_and_in_no_checkpoint(tmp_path):
    with pytest.raises(SemplesError, match=r"epoch 3, step 9(.|\n)*weights weight that are not finite"):
        train(tmp_path, infinite_at=9)
    for name in ("last.ckpt", "previous.ckpt"):
        assert torch.isfinite(torch.load(tmp_path / name)["learner"]["weight"]).all()


def test_an_evaluation_that_is_not_finite_is_null_and_not_the_best(tmp_path):
    scores = iter([float("nan"), 0.2, float("nan"), 0.1])
    task = train(tmp_path, score=lambda: next(scores))
    rows = [json.loads(line)["selection"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [None, 0.2, None, 0.1]
    assert torch.load(tmp_path / "best.ckpt")["epoch"] == 2
    assert torch.isfinite(task.learner.weight).all()


def test_whatever_fails_after_the_steps_of_an_epoch_loses_none(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 1e9)
    caplog.set_level("INFO")
    whole = train(tmp_path / "whole", score=lambda: 1.0)
    for failing in (MemoryError, SemplesError("photo.jpg", "truncated", "a photograph", "replace it")):
        with pytest.raises((MemoryError, SemplesError)):
            train(tmp_path / "broken", score=partial(throw, failing))
    resumed = train(tmp_path / "broken", score=lambda: 1.0)
    assert "saved at step 3; run again to go on" in caplog.text
    assert resumed.steps == 9
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    assert torch.equal(resumed.learner.weight, whole.learner.weight)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_an_evaluation_saves_and_ends_at_once(tmp_path, monkeypatch, number):
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 1e9)
    with pytest.raises(SystemExit, match=str(128 + number)):
        train(tmp_path, score=lambda: os.kill(os.getpid(), number) or pytest.fail("it went on"))
    assert train(tmp_path, score=lambda: 1.0).steps == 9


def throw(error: Exception) -> float:
    raise error


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, caplog, damage, name):
    whole = train(tmp_path / "whole", score=lambda: 1.0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", fail_at=9, score=lambda: 1.0)
    path = tmp_path / "broken" / name
    content = bytearray(path.read_bytes())
    content[content.index(torch.load(path)["learner"]["weight"].numpy().tobytes())] ^= 1
    damaged = {"truncated": content[:-100], "flipped": content, "empty": b"", "text": b"not a checkpoint\n" * 99}
    path.write_bytes(damaged[damage])
    resumed = train(tmp_path / "broken", score=lambda: 1.0)
    assert f"{path} is damaged" in caplog.text
    assert resumed.steps == (5 if name == "last.ckpt" else 12)
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    assert torch.equal(resumed.learner.weight, whole.learner.weight)


def test_a_full_disk_is_an_error_that_names_the_checkpoint(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, fail_at=8)

    def full(_state: dict, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(SemplesError, match=r"last\.ckpt"):
            train(tmp_path)
    assert train(tmp_path).steps == 5


def test_what_killed_processes_left_stops_no_start(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, fail_at=8)
    for number in (os.getpid(), os.getpid() + 1):
        (tmp_path / f".last.ckpt.partial-{number}").write_bytes(b"half")
        (tmp_path / f".best.ckpt.partial-{number}").mkdir()
    assert train(tmp_path).steps == 5
    assert not list(tmp_path.glob("*partial*"))


def test_metrics_say_speed_memory_and_rate(tmp_path):
    train(tmp_path)
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert {"epoch", "step", "loss", "lr", "images_per_s", "peak_memory_mb", "skipped"} <= set(row)


def test_schedules_end_at_zero():
    assert (cosine(0), cosine(0.5), cosine(1)) == (1, pytest.approx(0.5), pytest.approx(0))
    assert (poly(0), poly(1)) == (1, 0)


def test_the_rate_of_a_training_by_epochs_is_constant_in_each(tmp_path):
    train(tmp_path, epochs=4, schedule=cosine_by_epochs(4, by_epoch=True, least=0.5))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    factors = [row["lr"] / rows[0]["lr"] for row in rows]
    assert factors == pytest.approx([1, 0.9267767, 0.75, 0.5732233])


def test_strict_loading_names_the_first_mismatch(tmp_path):
    save_module(nn.Linear(2, 3), tmp_path / "model.safetensors", {"seed": "0"})
    load_module(nn.Linear(2, 3), tmp_path / "model.safetensors", "classify")
    with pytest.raises(SemplesError, match=r"weight: \(3, 2\)\n  expected: weight: \(3, 4\)"):
        load_module(nn.Linear(4, 3), tmp_path / "model.safetensors", "classify")
    with pytest.raises(SemplesError, match="make it with `semples classify`"):
        load_module(nn.Linear(2, 3), tmp_path / "nothing.safetensors", "classify")


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD])
def test_a_skipped_step_leaves_weights_and_state_as_they_were(tmp_path, monkeypatch, make):
    monkeypatch.setattr(loop._Run, "check", lambda *_: None)
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


@pytest.mark.parametrize("accumulate", [2, 3, 9])
def test_the_parts_of_a_batch_make_its_step(tmp_path, accumulate):
    weights, losses = [], []
    for folder, parts in (("whole", 1), ("parts", accumulate)):
        torch.manual_seed(0)
        task = Line()
        batches = TrainingBatches(Numbers(), 4, seed=0, workers=0)
        plan = TrainingPlan(2, poly, 0, "cpu", "32-true", tmp_path / folder, "same", accumulate=parts)
        fit(task, batches, torch.optim.SGD(task.learner.parameters(), lr=0.1, momentum=0.9, fused=True), plan)
        assert task.steps == 6 * min(parts, 4)
        weights.append(task.learner.weight.detach().clone())
        rows = [json.loads(line) for line in (tmp_path / folder / "metrics.jsonl").read_text().splitlines()]
        losses.append([(row["step"], row["loss"], row["lr"]) for row in rows])
    assert torch.allclose(*weights, atol=1e-6)
    assert losses[0] == [pytest.approx(row, abs=1e-6) for row in losses[1]]


def test_one_spoiled_part_skips_the_whole_step(tmp_path, monkeypatch):
    monkeypatch.setattr(loop._Run, "check", lambda *_: None)
    weights = []
    for folder, spoiled in (("first", {1}), ("second", {2})):
        torch.manual_seed(0)
        task = Line(nan_at=spoiled)
        before = task.learner.weight.detach().clone()
        batches = TrainingBatches(Numbers(), 12, seed=0, workers=0)
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
