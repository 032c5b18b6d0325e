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
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from tqdm import tqdm

from semples.checkpoint import Checkpoint, Position
from semples.devices import STOPPED, Interruption, make_fabric, spread_over
from semples.errors import SemplesError
from semples.files import atomic_path, require, sha256
from semples.seeds import seed_of

log = logging.getLogger(__name__)
NOT_FINITE_LIMIT = 20
CHECK_EVERY = 50
SAVE_EVERY_S = 60


@dataclass(frozen=True)
class Plan:
    """How to train: seeds, arithmetic, schedule and where the checkpoint lies."""

    epochs: int
    schedule: Callable[[float], float]
    """Learning-rate factor at a share of the run in [0, 1]."""
    seed: int
    device: str
    precision: str
    folder: Path
    """Checkpoint and running metrics; beside, not among, the declared outputs of a rule."""
    fingerprint: str
    """Digest of settings and inputs: a checkpoint with another one is not resumed."""
    devices: int = 1
    """Processes that share every batch, each on a device of its own."""
    compile: bool = False
    """Whether torch compiles the step."""


def cosine(share: float) -> float:
    """From 1 to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * share))


def poly(share: float) -> float:
    """`(1 - share) ** 0.9`, DeepLab's."""
    return (1 - share) ** 0.9


def fit(
    task: nn.Module,
    loader: DataLoader,
    optimizer: Optimizer,
    plan: Plan,
    judge: Callable[[], float] | None = None,
) -> Path:
    """Train `task.learner`; return the path of the metrics, one JSON line an epoch.

    `loader` has batches of semples.loader.EpochBatches. Interrupted, the run goes on from its last checkpoint when
    called again with the same fingerprint; on SIGTERM it writes one and exits. `judge` scores the learner after every
    epoch; the learner is left as it was after the epoch that scored highest, else after the last. The optimiser must be
    a fused one: those skip a step whose loss is not finite without asking the device first.

    With `plan.devices` > 1 the processes but the first exit when the last epoch is done.
    """
    if not optimizer.defaults.get("fused"):
        raise ValueError(f"{type(optimizer).__name__} without fused=True cannot skip a step")
    fabric = make_fabric(plan.device, plan.precision, plan.devices)
    learner, inner = task.learner, optimizer  # the wrapped optimiser holds copies that loading a state does not reach
    task, optimizer = fabric.setup(_prepared(fabric, task, plan), optimizer)
    loader = _shared_out(fabric, loader)
    total = plan.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(inner, lambda step: plan.schedule(min(1.0, step / max(1, total))))
    first = fabric.is_global_zero
    parts = {"learner": learner, "optimizer": inner, "schedule": schedule}
    checkpoint = Checkpoint(plan.folder, plan.fingerprint, parts, writes=first)
    position = checkpoint.resume(plan.epochs, len(loader))
    done = position.epoch * len(loader) + position.step
    bar = tqdm(total=total, initial=done, mininterval=2, unit="step", disable=not first)
    with Interruption(first) as stop, bar:
        after_step = _watch(checkpoint, position, stop, bar)
        while position.epoch < plan.epochs:
            row = _epoch(fabric, task, loader, optimizer, schedule, position, plan.seed, after_step)
            if judge is not None and first:
                row["selection"] = judge()
                checkpoint.keep_best(learner, row["epoch"], row["selection"])
            checkpoint.add_line(json.dumps(row))
            position.next_epoch()
    if not first:
        raise SystemExit(0)
    if judge is not None:
        checkpoint.load_best(learner)
    return checkpoint.metrics


def _watch(checkpoint: Checkpoint, position: Position, stop: Interruption, bar: tqdm) -> Callable[[], None]:
    """What follows every step: the bar moves; a checkpoint now and then, and on SIGTERM a last one before the end."""
    saved = time.monotonic()

    def after_step() -> None:
        nonlocal saved
        bar.update()
        if stop.asked or time.monotonic() - saved > SAVE_EVERY_S:
            checkpoint.save(position)
            saved = time.monotonic()
        if stop.asked:
            log.info("SIGTERM: saved at step %d; run again to go on", bar.n)
            raise SystemExit(STOPPED)

    return after_step


def _prepared(fabric: Fabric, task: nn.Module, plan: Plan) -> nn.Module:
    """The task as the device likes it."""
    task = spread_over(fabric, task)
    if fabric.device.type == "cuda":
        task.to(memory_format=torch.channels_last)
    if plan.compile:
        task.compile(dynamic=True)  # the number of pairs changes from step to step
    return task


def _shared_out(fabric: Fabric, loader: DataLoader) -> DataLoader:
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
    seed: int,
    after_step: Callable[[], None],
) -> dict[str, float]:
    """The rest of an epoch: mean of every named loss, learning rate, speed, memory, steps skipped."""
    task.train()
    images, start = 0, time.monotonic()
    loader.batch_sampler.epoch, loader.batch_sampler.first = position.epoch, position.step
    for batch in loader:
        # what a network draws in a step depends on the step alone, whatever was drawn before
        torch.manual_seed(seed_of(seed, position.epoch, position.step, fabric.global_rank))
        batch = loader.dataset.augmented(batch)
        _step(fabric, task, batch, optimizer, schedule, position)
        images += len(batch["image"])
        if position.step % CHECK_EVERY == 0 or position.step == len(loader):
            _check(position.skipped)
        after_step()
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
    batch: dict[str, Tensor],
    optimizer: Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    position: Position,
) -> None:
    """One step, and its losses added to the position. The host waits for nothing here."""
    with _attention(fabric):
        losses = task(batch)
    optimizer.zero_grad()
    fabric.backward(losses["loss"])
    values = {name: value.detach() for name, value in losses.items()}
    if fabric.world_size > 1:  # every process has its share of each mean
        values = dict(zip(values, fabric.all_reduce(torch.stack(list(values.values()))), strict=True))
    finite = torch.isfinite(values["loss"])
    optimizer.optimizer.found_inf = (~finite).float()  # a fused optimiser skips the step, and nobody waits to know
    optimizer.step()
    schedule.step()
    position.add({name: torch.where(finite, value, 0) for name, value in values.items()}, ~finite)


def _check(not_finite: torch.Tensor) -> None:
    if not_finite > NOT_FINITE_LIMIT:
        raise SemplesError(
            "training loss",
            f"not finite in {int(not_finite)} steps of an epoch",
            "a finite loss",
            "lower the learning rate or use precision 32-true; the last good checkpoint is kept",
        )


def _attention(fabric: Fabric) -> AbstractContextManager:
    """On a CPU plain attention: its backward pass is up to twice as fast as the fused one's on short sequences."""
    return sdpa_kernel(SDPBackend.MATH) if fabric.device.type == "cpu" else nullcontext()


def _peak_memory_mb() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def save_module(module: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write a module's state as safetensors with its provenance, whole or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with atomic_path(path) as partial:
        save_file(tensors, partial, metadata=metadata)


def load_module(module: nn.Module, path: Path, made_by: str) -> str:
    """Load a module's state strictly, or name the first key that does not fit; return the file's digest."""
    tensors = load_file(require(path, made_by))
    expect_shapes(tensors, module.state_dict(), path, "give the weights of the model that the config names")
    module.load_state_dict(tensors)
    return sha256(path)


def expect_shapes(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], path: Path, remedy: str) -> None:
    """An error that names the first key that one of the two lacks, or has in another shape."""
    for name in [*expected, *found]:
        here, wanted = (str(tuple(t[name].shape)) if name in t else "nothing" for t in (found, expected))
        if here != wanted:
            raise SemplesError(path, f"{name}: {here}", f"{name}: {wanted}", remedy)
