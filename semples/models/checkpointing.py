"""Activation checkpointing (arXiv 1604.06174): less memory for one more forward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def checkpointed(function: Callable, *inputs: Any) -> Any:
    """Return `function(*inputs)`; the backward pass computes it again, from its inputs, instead of keeping its values.

    Random draws are the same in both passes. Without gradients it is a plain call.
    """
    return checkpoint(function, *inputs, use_reentrant=False) if torch.is_grad_enabled() else function(*inputs)
