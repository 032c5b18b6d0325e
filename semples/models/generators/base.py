"""The interface of mask generators."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Maps(NamedTuple):
    """Output of a generator for a batch."""

    cams: Float[Tensor, "batch classes h w"]
    """Class activation maps, not negative, unscaled."""
    logits: tuple[Float[Tensor, "batch classes"], ...]
    """Class logits, one tensor for each loss of the classifier."""


class MaskGenerator(nn.Module):
    """Make `Maps` from RGB images in [0, 1], (batch, 3, height, width) of any size, which it normalises itself."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def map_head(self) -> nn.ModuleList:
        """Return the parts that make maps from features: all that learns with `trainable: head`."""
        raise NotImplementedError

    def converted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights from elsewhere, of the backbone or of everything, under this generator's parameter names.

        The caller checks the shapes. The base class returns them as they are.
        """
        return dict(tensors)

    def freeze_backbone(self) -> None:
        """Let only the head learn."""
        self.requires_grad_(False)
        self.map_head().requires_grad_(True)
