"""Where training runs: one process on one device, or one process a card that average their gradients."""

import os
import signal
import threading
import time
from types import FrameType

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from semples.errors import SemplesError

SIGTERM_EXIT_CODE = 128 + signal.SIGTERM


def make_fabric(device: str, precision: str, devices: int = 1) -> Fabric:
    """`devices` processes on a device each; precision `auto` is bf16-mixed where the processor has bfloat16 of its own.

    Of several, the first starts the others, which run the same command from its start up to this call.
    """
    if precision == "auto":
        cpu = device == "cpu" or not torch.cuda.is_available()
        own = torch.cpu.get_capabilities().get("avx512_bf16", False) if cpu else torch.cuda.is_bf16_supported(False)
        precision = "bf16-mixed" if own else "32-true"
    # some parameters take no part in a loss (WeakTr's final norm); buffers are the same everywhere
    several = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        precision=precision,
        strategy=several if devices > 1 else "auto",
        plugins=[LightningEnvironment()],  # whatever a scheduler says of tasks: the processes are ours
    )
    if devices > 1:
        fabric.launch()
        if not fabric.is_global_zero:
            _end_with_parent()
    return fabric


def sync_batch_norm(fabric: Fabric, task: nn.Module) -> nn.Module:
    """`task` made ready for several processes: batch normalisation that learns counts the whole batch."""
    if fabric.world_size == 1:
        return task
    task.train()
    if any(isinstance(part, _BatchNorm) and part.training for part in task.modules()):
        if fabric.device.type == "cpu":
            raise SemplesError(
                "run.devices",
                f"{fabric.world_size} processes on the CPU for a network with batch normalisation",
                "one process, or GPUs",
                "set `run.devices: 1`",
            )
        task = nn.SyncBatchNorm.convert_sync_batchnorm(task)
    return task


class Interruption:
    """Within the block SIGTERM is noted in `asked`, so that the loop can save before it ends.

    Of several processes the first notes it and the others ignore it: they end with the first.
    """

    def __init__(self, first: bool) -> None:
        self.first, self.asked = first, False

    def __enter__(self) -> "Interruption":
        self.before = None
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGTERM, self._note if self.first else signal.SIG_IGN)
        return self

    def __exit__(self, *_error: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGTERM, self.before)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True


def _end_with_parent() -> None:
    """A thread that kills this process once its parent has died, of whatever: it may be waiting for it for ever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
