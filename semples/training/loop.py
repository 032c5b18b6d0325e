"""The training loop of every stage that learns: device, precision, schedule, progress, metrics, checkpoint, resume.

A stage gives it a task (semples.models.tasks) and the batches. Steps whose loss is not finite are skipped and counted.
"""

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from signal import SIGTERM
from types import SimpleNamespace

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
from semples.runtime.devices import Precision, interruption, make_fabric, sync_batch_norm
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
    schedule: Callable[[float], float]  # learning-rate factor at a share of the run in [0, 1]
    seed: int
    device: str
    precision: Precision
    folder: Path  # of the checkpoint and the running metrics
    fingerprint: str  # digest of settings and inputs: a checkpoint with another one is not resumed
    devices: int = 1  # processes that share every batch, each on a device of its own
    compile: bool = False  # whether torch compiles the step
    accumulate: int = 1  # batches whose gradients make one step; the last step of an epoch may have fewer
    ema: float = 0.0  # decay of a running average of the learner, which is then evaluated and kept; 0: none
    score: Callable[[], float] | None = None  # after every epoch; the learner ends as after the best, or else the last
    extra_metrics: Callable[[nn.Module], dict[str, float]] | None = None  # more numbers of the learner; select nothing


def cosine(share: float) -> float:
    """Return half a cosine, from 1 at a `share` of 0 of the run to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * share))


def poly(share: float) -> float:
    """Return `(1 - share) ** 0.9`, the schedule of DeepLab."""
    return (1 - share) ** 0.9


def warmed_up(schedule: Callable[[float], float], warmup: float) -> Callable[[float], float]:
    """Return `schedule` times a linear rise from 0 to 1 over the first `warmup` share of the run."""
    return lambda share: schedule(share) * (min(1.0, share / warmup) if warmup else 1.0)


def fit(task: nn.Module, batches: TrainingBatches, optimizer: Optimizer, plan: TrainingPlan) -> Path:
    """Train `task.learner`; resume from the last checkpoint of the same fingerprint, and save one on SIGTERM.

    With `plan.devices` > 1 all processes but the first exit after the last epoch. The checkpoint stays.
    Args:
        task: Maps a batch to its losses by name, each (); `loss` is minimised.
        optimizer: A fused one: it skips a step whose loss is not finite without a wait for the device.
    Returns:
        Path of the metrics, one JSON line per epoch.
    Raises:
        SemplesError: Too many losses are not finite, or a batch has fewer images than there are processes.
    """
    if not optimizer.defaults.get("fused"):
        raise ValueError(f"{type(optimizer).__name__} without fused=True cannot skip a step")
    fabric = make_fabric(plan.device, plan.precision, plan.devices)
    first, learner = fabric.is_global_zero, task.get_submodule("learner")
    result, length = learner, len(batches)
    steps = plan.epochs * -(-length // plan.accumulate)
    schedule = LambdaLR(optimizer, lambda step: plan.schedule(min(1.0, step / max(1, steps))))
    parts = {"learner": learner, "optimizer": optimizer, "schedule": schedule}
    if plan.ema:
        average = AveragedModel(learner, fabric.device, multi_avg_fn=get_ema_multi_avg_fn(plan.ema), use_buffers=True)
        optimizer.register_step_post_hook(lambda *_: average.update_parameters(learner))
        result, parts["average"] = average.module, average
    # the wrapped optimiser holds copies that loading a state does not reach: schedule and checkpoint take the original
    task = sync_batch_norm(fabric, task)
    if fabric.device.type == "cuda":
        task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks the keyword
    if plan.compile:
        task.compile(dynamic=True)  # the number of pairs changes from step to step
    wrapped_task, wrapped_optimizer = fabric.setup(task, optimizer)
    batches.share(fabric.global_rank, fabric.world_size)
    checkpoint = Checkpoint(plan.folder, plan.fingerprint, parts, writes=first)
    position = checkpoint.resume()
    done, end = position.epoch * length + position.step, plan.epochs * length
    if done:
        log.info("resuming after epoch %d of %d, at step %d of %d", position.epoch, plan.epochs, done, end)
    bar = tqdm(total=end, initial=done, mininterval=2, unit="batch", disable=not first)
    with interruption(first) as stop, bar:
        run = _Run(fabric, wrapped_task, batches, wrapped_optimizer, schedule, plan, checkpoint, position, stop, bar)
        while position.epoch < plan.epochs:
            row = run.epoch()
            if plan.score and first:
                row["selection"] = plan.score()
                checkpoint.keep_best(learner, position.epoch + 1, row["selection"])
            if plan.extra_metrics and first:
                row |= plan.extra_metrics(result)
            checkpoint.add_line(json.dumps(row))
            position.next_epoch()
        checkpoint.save(position)  # the stage may fail at an output that it writes after the training
    if not first:
        raise SystemExit(0)
    if result is not learner:
        learner.load_state_dict(result.state_dict())
    if plan.score:
        checkpoint.load_best(learner)
    return checkpoint.metrics


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
    saved: float = field(default_factory=time.monotonic)

    def epoch(self) -> dict[str, float]:
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
                self._check()
            self.bar.update(len(group))
            self._save_in_time()
        skipped = int(position.skipped)
        cuda = torch.cuda.is_available()
        peak = torch.cuda.max_memory_allocated() / 1e6 if cuda else getrusage(RUSAGE_SELF).ru_maxrss / 1e3
        return {
            "epoch": position.epoch + 1,
            "step": (position.epoch + 1) * length,
            **{name: (total / max(1, length - skipped)).item() for name, total in position.sums.items()},
            "lr": float(self.schedule.get_last_lr()[0]),
            "skipped": skipped,
            "images_per_s": images * self.fabric.world_size / (time.monotonic() - start),
            "peak_memory_mb": peak,
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

    def _check(self) -> None:
        if (skipped := int(self.position.skipped)) > NOT_FINITE_LIMIT:
            problem = f"not finite in {skipped} steps of an epoch"
            remedy = "lower the learning rate or use precision 32-true; the last good checkpoint is kept"
            raise SemplesError("training loss", problem, "a finite loss", remedy)

    def _save_in_time(self) -> None:
        """Save now and then, and on SIGTERM, which ends the process."""
        if self.stop.asked or time.monotonic() - self.saved > SAVE_EVERY_S:
            self.checkpoint.save(self.position)
            self.saved = time.monotonic()
        if self.stop.asked:
            log.info("SIGTERM: saved at step %d; run again to go on", self.bar.n)
            raise SystemExit(128 + SIGTERM)
