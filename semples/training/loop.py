"""The training loop of every stage that learns: device, precision, schedule, progress, metrics, checkpoint, resume.

A stage gives it a task (semples.models.tasks) and the batches. Steps whose loss is not finite are skipped and counted.
"""

import json
import logging
import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from semples.data.training_images import TrainingBatches
from semples.errors import SemplesError
from semples.runtime.cpu import quick_steps
from semples.runtime.devices import SIGTERM_EXIT_CODE, Interruption, Precision, make_fabric, sync_batch_norm
from semples.runtime.seeds import seed_of
from semples.training.checkpoint import Checkpoint, Position

log = logging.getLogger(__name__)
NOT_FINITE_LIMIT = 20
CHECK_EVERY = 50
SAVE_EVERY_S = 60


@dataclass(frozen=True)
class TrainingPlan:
    """How to train: epochs, schedule, seed, arithmetic, and the folder of the checkpoint."""

    epochs: int
    schedule: Callable[[float], float]
    """Learning-rate factor at a share of the run in [0, 1]."""
    seed: int
    device: str
    precision: Precision
    folder: Path
    """Checkpoint and running metrics."""
    fingerprint: str
    """Digest of settings and inputs: a checkpoint with another one is not resumed."""
    devices: int = 1
    """Processes that share every batch, each on a device of its own."""
    compile: bool = False
    """Whether torch compiles the step."""
    accumulate: int = 1
    """Batches whose gradients make one step; the last step of an epoch may have fewer."""
    ema: float = 0.0
    """Decay of a running average of the learner, which is then evaluated and kept; 0: none."""


def cosine(share: float) -> float:
    """Return half a cosine, from 1 at a `share` of 0 of the run to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * share))


def poly(share: float) -> float:
    """Return `(1 - share) ** 0.9`, the schedule of DeepLab."""
    return (1 - share) ** 0.9


def warmed_up(schedule: Callable[[float], float], warmup: float) -> Callable[[float], float]:
    """Return `schedule` times a linear rise from 0 to 1 over the first `warmup` share of the run."""
    return lambda share: schedule(share) * (min(1.0, share / warmup) if warmup else 1.0)


def fit(
    task: nn.Module,
    batches: TrainingBatches,
    optimizer: Optimizer,
    plan: TrainingPlan,
    score: Callable[[], float] | None = None,
    extra_metrics: Callable[[nn.Module], dict[str, float]] | None = None,
) -> Path:
    """Train `task.learner`; resume from the last checkpoint of the same fingerprint, and save one on SIGTERM.

    With `plan.devices` > 1 all processes but the first exit after the last epoch. The checkpoint stays.
    Args:
        task: Maps a batch to its losses by name, each (); `loss` is minimised.
        optimizer: A fused one: it skips a step whose loss is not finite without a wait for the device.
        score: Scores the learner after every epoch. The learner ends as after the epoch with the highest score;
            without `score`, as after the last epoch.
        extra_metrics: Further numbers of the learner for the metrics; they select nothing.
    Returns:
        Path of the metrics, one JSON line per epoch.
    Raises:
        SemplesError: Too many losses are not finite, or a batch has fewer images than there are processes.
    """
    if not optimizer.defaults.get("fused"):
        raise ValueError(f"{type(optimizer).__name__} without fused=True cannot skip a step")
    fabric = make_fabric(plan.device, plan.precision, plan.devices)
    first, learner = fabric.is_global_zero, task.get_submodule("learner")
    average = _average(learner, plan.ema, fabric)
    # the wrapped optimiser holds copies that loading a state does not reach: schedule and checkpoint take the original
    wrapped_task, wrapped_optimizer = fabric.setup(_prepare(fabric, task, plan), optimizer)
    batches.share(fabric.global_rank, fabric.world_size)
    steps = plan.epochs * -(-len(batches) // plan.accumulate)
    schedule = LambdaLR(optimizer, lambda step: plan.schedule(min(1.0, step / max(1, steps))))
    parts = {"learner": learner, "optimizer": optimizer, "schedule": schedule}
    if average is not None:
        parts["average"] = average
        optimizer.register_step_post_hook(lambda *_: average.update_parameters(learner))
    checkpoint = Checkpoint(plan.folder, plan.fingerprint, parts, writes=first)
    position = checkpoint.resume(plan.epochs, len(batches))
    run = _Run(fabric, wrapped_task, batches, wrapped_optimizer, schedule, position, plan)
    done = position.epoch * len(batches) + position.step
    bar = tqdm(total=plan.epochs * len(batches), initial=done, mininterval=2, unit="batch", disable=not first)
    with Interruption(first) as stop, bar:
        after_step = _after_step(checkpoint, position, stop, bar)
        while position.epoch < plan.epochs:
            row = run.epoch(after_step)
            if score is not None and first:
                row["selection"] = score()
                checkpoint.keep_best(learner, position.epoch + 1, row["selection"])
            if extra_metrics is not None and first:
                row |= extra_metrics(average.module if average is not None else learner)
            checkpoint.add_line(json.dumps(row))
            position.next_epoch()
        checkpoint.save(position)  # the stage may fail at an output that it writes after the training
    if not first:
        raise SystemExit(0)
    if average is not None:
        learner.load_state_dict(average.module.state_dict())
    if score is not None:
        checkpoint.load_best(learner)
    return checkpoint.metrics


def _average(learner: nn.Module, decay: float, fabric: Fabric) -> AveragedModel | None:
    """Return a running average of the learner's parameters and buffers, on the device; None without a decay."""
    if not decay:
        return None
    return AveragedModel(learner, fabric.device, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def _prepare(fabric: Fabric, task: nn.Module, plan: TrainingPlan) -> nn.Module:
    """Prepare the module for the device: synchronised batch norm, channels-last, torch.compile."""
    task = sync_batch_norm(fabric, task)
    if fabric.device.type == "cuda":
        task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks the keyword
    if plan.compile:
        task.compile(dynamic=True)  # the number of pairs changes from step to step
    return task


def _after_step(checkpoint: Checkpoint, position: Position, stop: Interruption, bar: tqdm) -> Callable[[int], None]:
    """Return what to call after a step of some batches: it moves the bar, and saves now and then and on SIGTERM."""
    saved = time.monotonic()

    def after_step(batches: int) -> None:
        nonlocal saved
        bar.update(batches)
        if stop.asked or time.monotonic() - saved > SAVE_EVERY_S:
            checkpoint.save(position)
            saved = time.monotonic()
        if stop.asked:
            log.info("SIGTERM: saved at step %d; run again to go on", bar.n)
            raise SystemExit(SIGTERM_EXIT_CODE)

    return after_step


@dataclass(frozen=True)
class _Run:
    """The epochs and steps of one process; they move `position` on."""

    fabric: Fabric
    task: _FabricModule
    batches: TrainingBatches
    optimizer: _FabricOptimizer
    schedule: LambdaLR
    position: Position
    plan: TrainingPlan

    def epoch(self, after_step: Callable[[int], None]) -> dict[str, float]:
        """Train the rest of an epoch; return the mean of every loss, learning rate, speed, memory, skipped batches."""
        position, length = self.position, len(self.batches)
        self.task.train()
        images, start = 0, time.monotonic()
        stream = self.batches.start(position.epoch, position.step, self.fabric.device)
        while group := list(islice(stream, self.plan.accumulate)):
            self._step(group)
            self.schedule.step()
            images += sum(len(batch["image"]) for batch in group)
            if position.step % CHECK_EVERY < len(group) or position.step == length:
                _check(position.skipped)
            after_step(len(group))
        skipped = int(position.skipped)
        return {
            "epoch": position.epoch + 1,
            "step": (position.epoch + 1) * length,
            **{name: (total / max(1, length - skipped)).item() for name, total in position.sums.items()},
            "lr": float(self.schedule.get_last_lr()[0]),
            "skipped": skipped,
            "images_per_s": images * self.fabric.world_size / (time.monotonic() - start),
            "peak_memory_mb": _peak_memory_mb(),
        }

    def _step(self, group: list[dict[str, Tensor]]) -> None:
        """Take one step of the mean loss of some batches; add their losses to the position, without a wait."""
        fabric, position = self.fabric, self.position
        self.optimizer.zero_grad()
        spoiled = torch.zeros((), device=fabric.device)
        for number, batch in enumerate(group, start=1):
            # what a network draws depends on the batch's position in the run alone, whatever was drawn before
            torch.manual_seed(seed_of(self.plan.seed, position.epoch, position.step, fabric.global_rank))
            with fabric.no_backward_sync(self.task, enabled=number < len(group)):
                with quick_steps(fabric.device):
                    losses = self.task(batch)
                fabric.backward(losses["loss"] / len(group))
            values = {name: value.detach() for name, value in losses.items()}
            if fabric.world_size > 1:  # every process has its share of each mean
                values = dict(zip(values, fabric.all_reduce(torch.stack(list(values.values()))), strict=True))
            finite = torch.isfinite(values["loss"])
            spoiled += ~finite
            position.add({name: torch.where(finite, value, 0) for name, value in values.items()}, ~finite)
        # a fused optimiser skips the step by this number, and nobody waits to know
        vars(self.optimizer.optimizer)["found_inf"] = (spoiled > 0).float()
        self.optimizer.step()


def _check(not_finite: Tensor | int) -> None:
    if not_finite > NOT_FINITE_LIMIT:
        raise SemplesError(
            "training loss",
            f"not finite in {int(not_finite)} steps of an epoch",
            "a finite loss",
            "lower the learning rate or use precision 32-true; the last good checkpoint is kept",
        )


def _peak_memory_mb() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
