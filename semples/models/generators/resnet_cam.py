"""A ResNet with a 1x1 classifier, after CLIMS (arXiv 2203.02668)."""

from typing import Any, Literal

import timm
from jaxtyping import Float
from torch import Tensor, nn

from semples.models.generators.base import Maps, MaskGenerator

STRIDE = 16


class ResNetCam(MaskGenerator):
    """timm ResNet at stride 16; a 1x1 convolution without bias gives scores, their mean the class logits.

    Maps are the scores' ReLU, or their sigmoid with `activation: sigmoid`, as in CLIMS.
    """

    resnet: Any

    def __init__(self, classes: int, backbone: str, *, activation: Literal["relu", "sigmoid"] = "relu") -> None:
        resnet: Any = timm.create_model(backbone, num_classes=0, output_stride=STRIDE)
        super().__init__(resnet.default_cfg["mean"], resnet.default_cfg["std"])
        self.resnet, self.activation = resnet, activation
        self.classifier = nn.Conv2d(resnet.num_features, classes, 1, bias=False)

    def map_head(self) -> nn.ModuleList:
        return nn.ModuleList([self.classifier])

    def converted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights under own names, without the classifier of a timm backbone."""
        if "classifier.weight" in tensors:
            return dict(tensors)
        return {f"resnet.{name}": value for name, value in tensors.items() if not name.startswith("fc.")}

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Maps:
        scores = self.classifier(self.resnet.forward_features((images - self.mean) / self.std))
        cams = scores.relu() if self.activation == "relu" else scores.sigmoid()
        return Maps(cams, (scores.mean(dim=(2, 3)),))
