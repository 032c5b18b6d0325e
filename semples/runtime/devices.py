"""Devices of training: one process on one device, or one process per GPU with averaged gradients."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, SimpleNamespace
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from semples.errors import SemplesError

Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed"]


def make_fabric(device: str, precision: Precision, devices: int = 1) -> Fabric:
    """Return a Fabric of `devices` processes with one device each; the first process starts the others.

    These run the same command from its start up to this call. Precision `auto` is bf16-mixed where the processor
    computes in bfloat16, else 32-true.
    """
    if precision == "auto":
        precision = "bf16-mixed" if computes_in_bfloat16(device) else "32-true"
    # some parameters have no part in a loss (WeakTr's final norm); buffers are equal in all processes
    strategy = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if devices > 1 else "auto"
    processes = LightningEnvironment()  # a scheduler's variables do not decide on them
    fabric = Fabric(accelerator=device, devices=devices, precision=precision, strategy=strategy, plugins=[processes])
    if devices > 1:
        fabric.launch()
        if not fabric.is_global_zero:
            _end_with_parent()
    return fabric


def computes_in_bfloat16(device: str) -> bool:
    """Return whether the GPU, or the CPU if `device` is `cpu` or there is no GPU, has instructions for bfloat16."""
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(False)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def sync_batch_norm(fabric: Fabric, task: nn.Module) -> nn.Module:
    """Return `task` with batch normalisation over the batches of all processes; an error on the CPU, which has none."""
    if fabric.world_size == 1:
        return task
    task.train()
    if any(isinstance(part, _BatchNorm) and part.training for part in task.modules()):
        if fabric.device.type == "cpu":
            problem = f"{fabric.world_size} processes on the CPU for a network with batch normalisation"
            raise SemplesError("run.devices", problem, "one process, or GPUs", "set `run.devices: 1`")
        task = nn.SyncBatchNorm.convert_sync_batchnorm(task)
    return task


@contextmanager
def interruption(first: bool) -> Iterator[SimpleNamespace]:
    """Yield a namespace that SIGTERM and SIGINT set within the block, so that the loop can save before it ends.

    `asked` is the number of the signal, or 0. While the loop has set `between_steps` the signal raises SystemExit.
    Of several processes the first heeds the signals and the others ignore them: they end with the first.
    """
    stop = SimpleNamespace(asked=0, between_steps=False)

    def note(number: int, _frame: FrameType | None) -> None:
        again, stop.asked = stop.asked, number
        if stop.between_steps and not again:
            raise SystemExit(128 + number)
        if again == number == signal.SIGINT and not stop.between_steps:
            raise KeyboardInterrupt  # asked twice within one step, which may hang

    in_main_thread = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if in_main_thread else ()
    before = {number: signal.signal(number, note if first else signal.SIG_IGN) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_parent() -> None:
    """Start a thread that kills this process once its parent has died, because it may wait for the parent for ever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
