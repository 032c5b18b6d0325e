"""The training loop, once, for every stage that learns.

A stage gives it a task (semples.models.tasks) and a loader. The loop owns device, precision, schedule, progress,
metrics, checkpoint and resume, and the guard against losses that are not finite.
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
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

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
    """How to train: seeds, arithmetic, schedule and where the checkpoint lies."""

    epochs: int
    schedule: Callable[[float], float]
    """Learning-rate factor at a share of the run in [0, 1]."""
    seed: int
    device: str
    precision: Precision
    folder: Path
    """Checkpoint and running metrics; beside, not among, the declared outputs of a rule."""
    fingerprint: str
    """Digest of settings and inputs: a checkpoint with another one is not resumed."""
    devices: int = 1
    """Processes that share every batch, each on a device of its own."""
    compile: bool = False
    """Whether torch compiles the step."""
    accumulate: int = 1
    """Batches whose gradients make one step; the last step of an epoch may have fewer."""
    ema: float = 0.0
    """Decay of a running average of the learner, which is what is watched and kept; 0: none."""


def cosine(share: float) -> float:
    """From 1 to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * share))


def poly(share: float) -> float:
    """`(1 - share) ** 0.9`, DeepLab's."""
    return (1 - share) ** 0.9


def warmed_up(schedule: Callable[[float], float], warmup: float) -> Callable[[float], float]:
    """`schedule`, times a linear rise from 0 to 1 over the first `warmup` share of the run."""
    return lambda share: schedule(share) * (min(1.0, share / warmup) if warmup else 1.0)


def fit(
    task: nn.Module,
    loader: DataLoader,
    optimizer: Optimizer,
    plan: TrainingPlan,
    score: Callable[[], float] | None = None,
    extra_metrics: Callable[[nn.Module], dict[str, float]] | None = None,
) -> Path:
    """Train `task.learner`; return the path of the metrics, one JSON line an epoch.

    `loader` has batches of training_images.EpochBatches. Interrupted, the run goes on from its last checkpoint when
    called again with the same fingerprint; on SIGTERM it writes one and exits. `score` scores the learner after every
    epoch; the learner is left as it was after the epoch that scored highest, else after the last. `extra_metrics` gives
    further numbers of the learner for the metrics, and selects nothing. The optimiser must be a fused one: those
    skip a step whose loss is not finite without asking the device first.

    With `plan.devices` > 1 the processes but the first exit when the last epoch is done.
    """
    if not optimizer.defaults.get("fused"):
        raise ValueError(f"{type(optimizer).__name__} without fused=True cannot skip a step")
    fabric = make_fabric(plan.device, plan.precision, plan.devices)
    learner, inner = task.learner, optimizer  # the wrapped optimiser holds copies that loading a state does not reach
    average = _average(learner, plan.ema, fabric)
    task, optimizer = fabric.setup(_prepared(fabric, task, plan), optimizer)
    loader = _shard_loader(fabric, loader)
    steps = plan.epochs * -(-len(loader) // plan.accumulate)
    schedule = torch.optim.lr_scheduler.LambdaLR(inner, lambda step: plan.schedule(min(1.0, step / max(1, steps))))
    first = fabric.is_global_zero
    parts = {"learner": learner, "optimizer": inner, "schedule": schedule}
    if average is not None:
        parts["average"] = average
        inner.register_step_post_hook(lambda *_: average.update_parameters(learner))
    checkpoint = Checkpoint(plan.folder, plan.fingerprint, parts, writes=first)
    position = checkpoint.resume(plan.epochs, len(loader))
    done = position.epoch * len(loader) + position.step
    bar = tqdm(total=plan.epochs * len(loader), initial=done, mininterval=2, unit="batch", disable=not first)
    with Interruption(first) as stop, bar:
        after_step = _watch(checkpoint, position, stop, bar)
        while position.epoch < plan.epochs:
            row = _epoch(fabric, task, loader, optimizer, schedule, position, plan, after_step)
            if score is not None and first:
                row["selection"] = score()
                checkpoint.keep_best(learner, row["epoch"], row["selection"])
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
    """A running average of the learner's parameters and buffers, on the device."""
    if not decay:
        return None
    return AveragedModel(learner, fabric.device, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def _watch(checkpoint: Checkpoint, position: Position, stop: Interruption, bar: tqdm) -> Callable[[int], None]:
    """What follows a step of some batches: the bar moves; now and then a checkpoint; on SIGTERM a last one."""
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


def _prepared(fabric: Fabric, task: nn.Module, plan: TrainingPlan) -> nn.Module:
    """The task as the device likes it."""
    task = sync_batch_norm(fabric, task)
    if fabric.device.type == "cuda":
        task.to(memory_format=torch.channels_last)
    if plan.compile:
        task.compile(dynamic=True)  # the number of pairs changes from step to step
    return task


def _shard_loader(fabric: Fabric, loader: DataLoader) -> DataLoader:
    """The loader of this process: its share of every batch."""
    batches = loader.batch_sampler
    if min(batches.batch, batches.length) < fabric.world_size:
        raise SemplesError(
            "run.devices",
            f"{fabric.world_size} processes for batches of {min(batches.batch, batches.length)} images",
            "an image a process and step",
            "lower `run.devices` or raise the stage's `batch`",
        )
    batches.rank, batches.ranks = fabric.global_rank, fabric.world_size
    return fabric.setup_dataloaders(loader, use_distributed_sampler=False)


def _epoch(
    fabric: Fabric,
    task: nn.Module,
    loader: DataLoader,
    optimizer: Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    position: Position,
    plan: TrainingPlan,
    after_step: Callable[[int], None],
) -> dict[str, float]:
    """The rest of an epoch: mean of every named loss, learning rate, speed, memory, batches skipped."""
    task.train()
    images, start = 0, time.monotonic()
    loader.batch_sampler.epoch, loader.batch_sampler.first = position.epoch, position.step
    waiting = iter(loader)
    while batches := [loader.dataset.augmented(batch) for batch in islice(waiting, plan.accumulate)]:
        _step(fabric, task, batches, optimizer, position, plan.seed)
        schedule.step()
        images += sum(len(batch["image"]) for batch in batches)
        if position.step % CHECK_EVERY < len(batches) or position.step == len(loader):
            _check(position.skipped)
        after_step(len(batches))
    skipped = int(position.skipped)
    done = max(1, len(loader) - skipped)
    return {
        "epoch": position.epoch + 1,
        "step": (position.epoch + 1) * len(loader),
        **{name: (total / done).item() for name, total in position.sums.items()},
        "lr": schedule.get_last_lr()[0],
        "skipped": skipped,
        "images_per_s": images * fabric.world_size / (time.monotonic() - start),
        "peak_memory_mb": _peak_memory_mb(),
    }


def _step(
    fabric: Fabric,
    task: nn.Module,
    batches: list[dict[str, Tensor]],
    optimizer: Optimizer,
    position: Position,
    seed: int,
) -> None:
    """One step of the mean loss of `batches`, and their losses added to the position. The host waits for nothing."""
    optimizer.zero_grad()
    spoiled = torch.zeros((), device=fabric.device)
    for place, batch in enumerate(batches, start=1):
        # what a network draws depends on the batch's place in the run alone, whatever was drawn before
        torch.manual_seed(seed_of(seed, position.epoch, position.step, fabric.global_rank))
        with fabric.no_backward_sync(task, enabled=place < len(batches)):
            with quick_steps(fabric.device):
                losses = task(batch)
            fabric.backward(losses["loss"] / len(batches))
        values = {name: value.detach() for name, value in losses.items()}
        if fabric.world_size > 1:  # every process has its share of each mean
            values = dict(zip(values, fabric.all_reduce(torch.stack(list(values.values()))), strict=True))
        finite = torch.isfinite(values["loss"])
        spoiled += ~finite
        position.add({name: torch.where(finite, value, 0) for name, value in values.items()}, ~finite)
    optimizer.optimizer.found_inf = (spoiled > 0).float()  # a fused optimiser skips the step, and nobody waits to know
    optimizer.step()


def _check(not_finite: torch.Tensor) -> None:
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
