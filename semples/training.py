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
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from semples.errors import SemplesError
from semples.files import atomic_path, require, sha256

log = logging.getLogger(__name__)
NOT_FINITE_LIMIT = 20
CHECK_EVERY = 50
SAVE_EVERY_S = 30
LAST, BEST = "last.ckpt", "best.ckpt"


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
    accumulate: int = 1
    """Batches whose gradients make one step; the last step of an epoch may have fewer."""
    ema: float = 0.0
    """Decay of a running average of the learner, which is what is watched and kept; 0: none."""


def make_fabric(device: str, precision: str) -> Fabric:
    """One process on one device; precision `auto` is bf16-mixed where the processor has bfloat16 of its own."""
    if precision == "auto":
        cpu = device == "cpu" or not torch.cuda.is_available()
        own = torch.cpu.get_capabilities().get("avx512_bf16", False) if cpu else torch.cuda.is_bf16_supported(False)
        precision = "bf16-mixed" if own else "32-true"
    return Fabric(accelerator=device, devices=1, precision=precision)


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
    plan: Plan,
    judge: Callable[[], float] | None = None,
    watch: Callable[[nn.Module], dict[str, float]] | None = None,
) -> Path:
    """Train `task.learner`; return the path of the metrics, one JSON line an epoch.

    Interrupted, it resumes from the last checkpoint when called again with the same fingerprint. `judge` scores the
    learner after every epoch; the learner is left as it was after the epoch that scored highest, else after the last.
    `watch` gives further numbers of the learner for the metrics, and selects nothing.
    The optimiser must be a fused one: those skip a step whose loss is not finite without asking the device first.
    """
    if not optimizer.defaults.get("fused"):
        raise ValueError(f"{type(optimizer).__name__} without fused=True cannot skip a step")
    fabric = make_fabric(plan.device, plan.precision)
    torch.manual_seed(plan.seed)
    learner, inner = task.learner, optimizer  # the wrapped optimiser holds copies that loading a state does not reach
    average = _average(learner, plan.ema, fabric)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(task)
    task, optimizer = fabric.setup(task, optimizer)
    loader = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
    steps = plan.epochs * -(-len(loader) // plan.accumulate)
    schedule = torch.optim.lr_scheduler.LambdaLR(inner, lambda step: plan.schedule(min(1.0, step / max(1, steps))))
    state = {"learner": learner, "optimizer": inner, "schedule": schedule}
    if average is not None:
        state["average"] = average
        inner.register_step_post_hook(lambda *_: average.update_parameters(learner))
    metrics = plan.folder / "metrics.jsonl"
    first = _resume(state, plan, metrics)
    saved = time.monotonic()
    bar = tqdm(total=plan.epochs * len(loader), initial=first * len(loader), mininterval=2, unit="step")
    for epoch in range(first, plan.epochs):
        loader.sampler.epoch = epoch
        row = _epoch(fabric, task, loader, optimizer, schedule, bar, plan.accumulate)
        row = {"epoch": epoch + 1, "step": (epoch + 1) * len(loader), **row}
        if judge is not None:
            row["selection"] = judge()
            _keep_best(learner, plan, epoch + 1, row["selection"])
        if watch is not None:
            row |= watch(average.module if average is not None else learner)
        with open(metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if time.monotonic() - saved > SAVE_EVERY_S and epoch + 1 < plan.epochs:
            _save(state, plan, epoch + 1)
            saved = time.monotonic()
    bar.close()
    if average is not None:
        learner.load_state_dict(average.module.state_dict())
    if judge is not None:
        best = torch.load(plan.folder / BEST, map_location="cpu")
        learner.load_state_dict(best["learner"])
        log.info("kept epoch %d of %d, selection score %.4f", best["epoch"], plan.epochs, best["score"])
    return metrics


def _average(learner: nn.Module, decay: float, fabric: Fabric) -> AveragedModel | None:
    """A running average of the learner's parameters and buffers, on the device."""
    if not decay:
        return None
    return AveragedModel(learner, fabric.device, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def _keep_best(learner: nn.Module, plan: Plan, epoch: int, score: float) -> None:
    path = plan.folder / BEST
    if not path.exists() or score > torch.load(path, map_location="cpu")["score"]:
        with atomic_path(path) as partial:
            torch.save({"learner": learner.state_dict(), "epoch": epoch, "score": score}, partial)


def _epoch(fabric, task, loader, optimizer, schedule, bar, accumulate: int) -> dict[str, float]:
    """One pass: mean of every named loss, learning rate, speed, memory, batches whose loss was not finite."""
    task.train()
    sums: dict[str, torch.Tensor] = {}
    not_finite = torch.zeros((), device=fabric.device)
    spoiled = torch.zeros((), device=fabric.device)
    images, start = 0, time.monotonic()
    optimizer.zero_grad()
    for step, batch in enumerate(loader, start=1):
        with _attention(fabric):
            losses = task(batch)
        finite = torch.isfinite(losses["loss"])
        not_finite += ~finite
        spoiled += ~finite
        ends = step % accumulate == 0 or step == len(loader)
        with fabric.no_backward_sync(task, enabled=not ends):
            fabric.backward(losses["loss"] / accumulate)
        if ends:
            optimizer.optimizer.found_inf = (spoiled > 0).float()  # a fused optimiser skips the step; nobody waits
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            spoiled.zero_()
        for name, value in losses.items():
            sums[name] = sums.get(name, 0) + torch.where(finite, value.detach(), 0)
        images += len(batch["image"])
        bar.update()
        if step % CHECK_EVERY == 0 or step == len(loader):
            _check(not_finite)
    skipped = int(not_finite)
    done = max(1, len(loader) - skipped)
    means = {name: (value / done).item() for name, value in sums.items()}
    bar.set_postfix({name: f"{value:.3f}" for name, value in means.items()})
    return {
        **means,
        "lr": schedule.get_last_lr()[0],
        "skipped": skipped,
        "images_per_s": images / (time.monotonic() - start),
        "peak_memory_mb": _peak_memory_mb(),
    }


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


def _save(state: dict, plan: Plan, epoch: int) -> None:
    values = {name: part.state_dict() for name, part in state.items()}
    with atomic_path(plan.folder / LAST) as partial:
        torch.save({**values, "epoch": epoch, "fingerprint": plan.fingerprint, "random": _random_states()}, partial)


def _resume(state: dict, plan: Plan, metrics: Path) -> int:
    """Load the checkpoint if it is of this very run; return the epoch to go on with."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    path = plan.folder / LAST
    if path.exists():
        saved = torch.load(path, map_location="cpu")
        if saved["fingerprint"] == plan.fingerprint:
            for name, part in state.items():
                part.load_state_dict(saved[name])
            _restore_random_states(saved["random"])
            lines = metrics.read_text(encoding="utf-8").splitlines()
            metrics.write_text("".join(f"{line}\n" for line in lines[: saved["epoch"]]), encoding="utf-8")
            log.info("resuming after epoch %d of %d", saved["epoch"], plan.epochs)
            return saved["epoch"]
        log.info("%s belongs to other settings; starting anew", path)
    metrics.write_text("", encoding="utf-8")
    (plan.folder / BEST).unlink(missing_ok=True)
    return 0


def _random_states() -> list[torch.Tensor]:
    """The states of torch's generators, the CPU's first; augmentation draws from no other."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


def _restore_random_states(states: list[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states[1:])


def forget_checkpoint(folder: Path) -> None:
    """Remove the checkpoints of a run that has ended well."""
    for name in (LAST, BEST):
        (folder / name).unlink(missing_ok=True)


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
