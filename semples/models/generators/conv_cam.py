"""A small convolutional generator for small images."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from semples.models.generators.base import Maps, MaskGenerator


class ConvCam(MaskGenerator):
    """Three convolution blocks down to a quarter of the image's side, then a 1x1 classifier; maps are its ReLU."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        self.features = nn.Sequential(
            _block(3, width),
            nn.MaxPool2d(2),
            _block(width, 2 * width),
            nn.MaxPool2d(2),
            _block(2 * width, 4 * width),
        )
        self.classifier = nn.Conv2d(4 * width, classes, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # several times as fast on a CPU

    def map_head(self) -> nn.ModuleList:
        return nn.ModuleList([self.classifier])

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Maps:
        scores = self.classifier(self.features((images - self.mean) / self.std))
        return Maps(scores.relu(), (scores.mean(dim=(2, 3)),))


def _block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
        nn.Conv2d(outside, outside, 3, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )
