"""Mask generators behind one small interface."""

from semples.models.generators.base import Maps, MaskGenerator
from semples.models.generators.conv_cam import ConvCam
from semples.models.generators.vit_cam import VitCam

__all__ = ["ConvCam", "Maps", "MaskGenerator", "VitCam", "build_generator"]


def build_generator(name: str, classes: int, backbone: str, pretrained: bool = False) -> MaskGenerator:
    """The generator called `name`; `pretrained` lets timm download ImageNet weights."""
    if name == "conv_cam":
        return ConvCam(classes)
    return VitCam(classes, backbone, pretrained)
