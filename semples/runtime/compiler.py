"""torch.compile for training steps: whether it is used, and how."""

import logging
from typing import Literal

import torch
from torch import Tensor, nn

from semples.errors import SemplesError

log = logging.getLogger(__name__)
Compile = Literal["auto"] | bool
BACKEND = "inductor"
MOST_SHAPES = 64  # of inputs for which a step is compiled; PyTorch's default of 8 is less than small batches need


def compiles(choice: Compile, device: torch.device) -> bool:
    """Return whether steps on a device are compiled; `auto` is on for CUDA, and off where torch.compile fails there.

    Raises:
        SemplesError: torch.compile fails, and the choice is True.
    """
    if choice == "auto" and device.type != "cuda":
        return False
    problem = _problem(device) if choice else ""
    if problem and choice == "auto":
        log.warning("torch.compile does not work here (%s): going on without it", problem)
    elif problem:
        expected = "a C++ compiler, and Triton for a GPU"
        raise SemplesError("run.compile: true", problem, expected, "install them, or set `run.compile: false`")
    return bool(choice) and not problem


def compile_steps(task: nn.Module, checkpointing: bool) -> None:
    """Compile the forward and the backward pass of a task in place, once for every shape of its inputs."""
    torch.compiler.config.recompile_limit = MOST_SHAPES
    if checkpointing:  # data parallelism cannot cut a graph with blocks that are computed again
        torch._dynamo.config.optimize_ddp = False
    task.compile(dynamic=False, backend=BACKEND)


def _problem(device: torch.device) -> str:
    """Return why torch.compile fails for a small function, "" where it works."""

    def small(values: Tensor) -> Tensor:
        return values.sin().sum()

    try:
        torch.compile(small, backend=BACKEND)(torch.ones(8, device=device))
    except Exception as error:  # a missing compiler or Triton raises anything, and names it in the second line
        return " ".join((str(error).strip() or type(error).__name__).splitlines()[:2])
    return ""
