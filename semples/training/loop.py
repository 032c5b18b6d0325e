"""The training loop of every stage that learns: device, precision, schedule, progress, metrics, checkpoint, resume.

A stage gives it a task (semples.models.tasks) and the batches. Steps whose loss or gradients are not finite are skipped
and counted; too many in a row end the training with an error.
"""

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from signal import Signals
from types import SimpleNamespace
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from semples.data.training_images import TrainingBatches
from semples.errors import SemplesError
from semples.runtime.compiler import Compile, compile_steps, compiles
from semples.runtime.cpu import quick_steps
from semples.runtime.devices import Precision, interruption, make_fabric, sync_batch_norm
from semples.runtime.seeds import seed_of
from semples.training.checkpoint import Checkpoint, Position
from semples.weights.tensor_file import not_finite

log = logging.getLogger(__name__)
END_STREAK = 3  # skipped steps at the very end of a run that are an error; no good one follows them
CHECK_EVERY = 50  # batches, where the look at the device's counts is a wait
SAVE_EVERY_S = 60


@dataclass(frozen=True)
class TrainingPlan:
    """How to train: epochs, schedule, seed, arithmetic, and the folder of the checkpoint."""

    epochs: int
    schedule: Callable[[float], float]  # learning-rate factor at a share of the run in [0, 1]
    seed: int
    device: str
    precision: Precision
    folder: Path  # of the checkpoint and the running metrics
    fingerprint: str  # digest of settings and inputs: a checkpoint with another one is not resumed
    devices: int = 1  # processes that share every batch, each on a device of its own
    compile: Compile = False  # whether torch compiles the step; `auto`: on CUDA
    checkpointing: bool = False  # whether the backward pass computes blocks of the networks again
    accumulate: int = 1  # parts of a batch that are computed one after another; their gradients make one step
    ema: float = 0.0  # decay of a running average of the learner, which is then evaluated and kept; 0: none
    score: Callable[[], float] | None = None  # after every epoch; the learner ends as after the best, or else the last
    extra_metrics: Callable[[nn.Module], dict[str, float]] | None = None  # more numbers of the learner; select nothing
    stage: str = "training"  # for messages
    skipped_steps: int = 10  # in a row that end the training


def cosine(share: float) -> float:
    """Return half a cosine, from 1 at a `share` of 0 of the run to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * share))


def cosine_by_epochs(
    epochs: int, by_epoch: bool = False, warmup: int = 0, first: float = 0.0, least: float = 0.0
) -> Callable[[float], float]:
    """Return a cosine from 1 to `least` that begins with a linear rise from `first`; the rise hides its beginning.

    Args:
        epochs, warmup: Number of all epochs, and of those of the rise.
        by_epoch: Whether the factor changes after epochs only. The second epoch then has that of the first, as in the
            published code, which asks timm's schedule after every epoch for the rate of that epoch's number.
        first, least: Fractions of the learning rate.
    """

    def factor(share: float) -> float:
        epoch = share * epochs
        epoch = max(0, math.floor(epoch + 1e-6) - 1) if by_epoch else epoch
        if epoch < warmup:
            return first + (1 - first) * epoch / warmup
        return least + (1 - least) * cosine(epoch / max(1, epochs))

    return factor


def poly(share: float) -> float:
    """Return `(1 - share) ** 0.9`, the schedule of DeepLab."""
    return (1 - share) ** 0.9


def warmed_up(schedule: Callable[[float], float], warmup: float) -> Callable[[float], float]:
    """Return `schedule` times a linear rise from 0 to 1 over the first `warmup` share of the run."""
    return lambda share: schedule(share) * (min(1.0, share / warmup) if warmup else 1.0)


def fit(task: nn.Module, batches: TrainingBatches, optimizer: Optimizer, plan: TrainingPlan) -> Path:
    """Train `task.learner`; resume from the last checkpoint of the same fingerprint.

    Whatever ends the training between two steps, SIGTERM and Ctrl-C too, leaves a checkpoint.
    With `plan.devices` > 1 all processes but the first exit after the last epoch. The checkpoint stays.
    Args:
        task: Maps a part of a batch to its losses by name, each (); `loss` is minimised. Its method `parts` cuts a
            batch into parts whose losses add up to those of the batch, and pads them to few shapes.
        optimizer: A fused one: it skips a step that is not finite without a wait for the device.
    Returns:
        Path of the metrics, one JSON line per epoch.
    Raises:
        SemplesError: Losses, gradients or weights are not finite, or a batch has fewer images than processes.
    """
    if not optimizer.defaults.get("fused"):
        raise ValueError(f"{type(optimizer).__name__} without fused=True cannot skip a step")
    fabric = make_fabric(plan.device, plan.precision, plan.devices)
    first, learner = fabric.is_global_zero, task.get_submodule("learner")
    result, length, end = learner, len(batches), plan.epochs * len(batches)
    schedule = LambdaLR(optimizer, lambda step: plan.schedule(min(1.0, step / max(1, end))))
    parts = {"learner": learner, "optimizer": optimizer, "schedule": schedule, "scaler": fabric.strategy.precision}
    if plan.ema:
        average = AveragedModel(learner, fabric.device, multi_avg_fn=get_ema_multi_avg_fn(plan.ema), use_buffers=True)
        optimizer.register_step_post_hook(lambda *_: average.update_parameters(learner))
        result, parts["average"] = average.module, average
    # the wrapped optimiser holds copies that loading a state does not reach: schedule and checkpoint take the original
    compiled = compiles(plan.compile, fabric.device)
    wrapped_task, wrapped_optimizer = fabric.setup(_prepare(fabric, task, plan, compiled), optimizer)
    batches.share(fabric.global_rank, fabric.world_size)
    checkpoint = Checkpoint(plan.folder, plan.fingerprint, parts, writes=first)
    position = checkpoint.resume()
    if done := position.epoch * length + position.step:
        log.info("resuming after epoch %d of %d, at step %d of %d", position.epoch, plan.epochs, done, end)
    bar = tqdm(total=end, initial=done, mininterval=2, unit="batch", disable=not first)
    with interruption(first) as stop, bar:
        run = _Run(
            fabric, wrapped_task, batches, wrapped_optimizer, schedule, plan, checkpoint, position, stop, bar, compiled
        )
        run.train(learner, result)
    if not first:
        raise SystemExit(0)
    if result is not learner:
        learner.load_state_dict(result.state_dict())
    if plan.score:
        checkpoint.load_best(learner)
    return checkpoint.metrics


def _prepare(fabric: Fabric, task: nn.Module, plan: TrainingPlan, compiled: bool) -> nn.Module:
    """Prepare the module for the device: synchronised batch norm, channels-last, torch.compile."""
    task = sync_batch_norm(fabric, task)
    if fabric.device.type == "cuda":
        task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks the keyword
    if compiled:
        compile_steps(task, plan.checkpointing)
    return task


@dataclass
class _Run:
    """The epochs and steps of one process; they move `position` on."""

    fabric: Fabric
    task: _FabricModule
    batches: TrainingBatches
    optimizer: _FabricOptimizer
    schedule: LambdaLR
    plan: TrainingPlan
    checkpoint: Checkpoint
    position: Position
    stop: SimpleNamespace
    bar: tqdm
    compiled: bool
    saved: float = field(default_factory=time.monotonic)

    def train(self, learner: nn.Module, result: nn.Module) -> None:
        """Train the rest of the run, and save it; `result` is the learner, or its running average."""
        plan, position, checkpoint, first = self.plan, self.position, self.checkpoint, self.fabric.is_global_zero
        steps = plan.epochs * len(self.batches)
        try:
            while position.epoch < plan.epochs:
                row = self.epoch()
                last = position.epoch + 1 == plan.epochs
                limit = min(plan.skipped_steps, END_STREAK, max(1, steps // 2)) if last else plan.skipped_steps
                self.check(limit, result)
                if plan.score and first:
                    row["selection"] = plan.score()
                    checkpoint.keep_best(learner, position.epoch + 1, row["selection"])
                if plan.extra_metrics and first:
                    row |= plan.extra_metrics(result)
                line = {name: value if math.isfinite(value) else None for name, value in row.items()}
                checkpoint.add_line(json.dumps(line))
                position.next_epoch()
            checkpoint.save(position)  # the stage may fail at an output that it writes after the training
        except BaseException as error:
            if self.stop.between_steps and checkpoint.save(position):
                cause = Signals(self.stop.asked).name if self.stop.asked else type(error).__name__
                log.info("%s: saved at step %d; run again to go on", cause, self.bar.n)
            raise

    def epoch(self) -> dict[str, float]:
        """Train the rest of an epoch; return the mean of every loss, learning rate, speed, memory, skipped batches."""
        position, length = self.position, len(self.batches)
        self.task.train()
        images, start = 0, time.monotonic()
        for batch in self.batches.start(position.epoch, position.step, self.fabric.device):
            self._step(batch)
            self.bar.update()
            images += len(next(iter(batch.values())))
            if self.fabric.device.type == "cpu" or position.step % CHECK_EVERY == 0:
                self.check(self.plan.skipped_steps)
            if self.stop.asked:
                raise SystemExit(128 + self.stop.asked)
            if time.monotonic() - self.saved > SAVE_EVERY_S:
                self.checkpoint.save(position)
                self.saved = time.monotonic()
        skipped = int(position.skipped)
        taken = length - skipped
        cuda = torch.cuda.is_available()
        peak = torch.cuda.max_memory_allocated() / 1e6 if cuda else getrusage(RUSAGE_SELF).ru_maxrss / 1e3
        return {
            "epoch": position.epoch + 1,
            "step": (position.epoch + 1) * length,
            **{name: (total / taken).item() if taken else math.nan for name, total in position.sums.items()},
            "lr": float(self.schedule.get_last_lr()[0]),
            "skipped": skipped,
            "images_per_s": images * self.fabric.world_size / (time.monotonic() - start),
            "peak_memory_mb": peak,
        }

    def _step(self, batch: dict[str, Tensor]) -> None:
        """Take one step, part by part; move the position on. With one part, nothing waits for the device."""
        fabric, position, optimizer = self.fabric, self.position, self.optimizer.optimizer
        self.stop.between_steps = False
        self.optimizer.zero_grad()
        # what a network draws depends on the step's position in the run alone, whatever was drawn before
        torch.manual_seed(seed_of(self.plan.seed, position.epoch, position.step, fabric.global_rank))
        task: Any = self.task.module
        parts = task.parts(batch, self.plan.accumulate, self.compiled)
        sums: dict[str, Tensor] = {}
        for number, part in enumerate(parts, start=1):
            # the backward pass belongs to the block: with checkpointing, it computes forward passes again
            quick = quick_steps(fabric.device, self.compiled or self.plan.checkpointing)
            with quick, fabric.no_backward_sync(self.task, enabled=number < len(parts)):
                losses = self.task(part)
                fabric.backward(losses["loss"])
            sums = {name: sums.get(name, 0) + value.detach() for name, value in losses.items()}
        if fabric.world_size > 1:  # every process has its share of each mean
            sums = dict(zip(sums, fabric.all_reduce(torch.stack(list(sums.values()))), strict=True))
        gradients = [p.grad for rows in optimizer.param_groups for p in rows["params"] if p.grad is not None]
        spoiled = ~(torch.isfinite(sums["loss"]) & torch.isfinite(get_total_norm(gradients)))
        vars(optimizer)["found_inf"] = spoiled.float()  # a fused optimiser skips the step by this, and nobody waits
        self.optimizer.step()
        self.schedule.step()
        position.add(sums, spoiled, self.plan.skipped_steps)
        self.stop.between_steps = True

    def check(self, limit: int, learner: nn.Module | None = None) -> None:
        """Raise an error if the last `limit` steps were skipped, or if a weight of the `learner` is not finite."""
        streak, plan, length = int(self.position.streak), self.plan, len(self.batches)
        name = not_finite(learner.state_dict()) if learner else ""
        if not self.fabric.is_global_zero or (streak < limit and not name):
            return
        done = self.position.epoch * length + self.position.step - max(1, streak)
        epoch, step = divmod(done, length)
        where = f"{plan.stage}, epoch {epoch + 1}, step {done + 1}"
        rate = f"learning rate {self.schedule.get_last_lr()[0]:.3g}"
        problem = f"weights {name} that are not finite" if name else f"{streak} steps in a row that are not finite"
        ids = ", ".join(self.batches.ids(epoch, step))
        remedy = f"lower the learning rate, use `precision: 32-true`, or look at the images of the step: {ids}"
        raise SemplesError(f"{where}, {rate}", problem, "finite loss, gradients and weights", remedy)
