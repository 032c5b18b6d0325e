"""What a mask generator is."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Maps(NamedTuple):
    """What a generator says of a batch."""

    cams: Tensor
    """(batch, classes, h, w), not negative, unscaled."""
    logits: tuple[Tensor, ...]
    """Class logits (batch, classes), one for each loss of the classifier."""


class MaskGenerator(nn.Module):
    """Images in [0, 1] (batch, 3, height, width) of any size -> `Maps`. Normalisation is its own business."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def map_head(self) -> nn.ModuleList:
        """The parts that make maps from features: all that learns where `trainable: head`."""
        raise NotImplementedError

    def converted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights from elsewhere under this generator's own names: of a backbone alone, or of everything.

        Shapes are the caller's to check. Here: weights that already carry these names.
        """
        return dict(tensors)

    def freeze_backbone(self) -> None:
        """Only the head keeps its gradients."""
        self.requires_grad_(False)
        self.map_head().requires_grad_(True)
