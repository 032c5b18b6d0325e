"""Mask generators behind one small interface."""

from typing import Literal

from semples.errors import SemplesError
from semples.models.generators.base import Maps, MaskGenerator
from semples.models.generators.conv_cam import ConvCam
from semples.models.generators.resnet_cam import ResNetCam
from semples.models.generators.vit_cam import VitCam
from semples.models.generators.weaktr import WeakTr

__all__ = ["ConvCam", "Maps", "MaskGenerator", "ResNetCam", "VitCam", "WeakTr", "build_generator"]


def build_generator(
    name: str,
    classes: int,
    backbone: str,
    *,
    drop_path: float = 0.0,
    fusion_pool: Literal["max", "avg"] = "max",
    fusion_reduction: int = 8,
    sharpness: float = 0.0,
    activation: Literal["relu", "sigmoid"] = "relu",
) -> MaskGenerator:
    """Return the generator called `name`, with random weights.

    Args:
        name: `conv_cam`, `vit_cam`, `resnet_cam` or `weaktr`.
        classes: Number of foreground classes.
        backbone: timm's name of the network inside; `conv_cam` has none.
        drop_path: Stochastic depth of the transformers, in [0, 1).
        fusion_pool, fusion_reduction: Attention fusion of WeakTr.
        sharpness: Pooling of `vit_cam`.
        activation: Activation of the maps of `resnet_cam`.
    Raises:
        SemplesError: timm cannot make the backbone.
    """
    try:
        if name == "conv_cam":
            return ConvCam(classes)
        if name == "vit_cam":
            return VitCam(classes, backbone, drop_path=drop_path, sharpness=sharpness)
        if name == "resnet_cam":
            return ResNetCam(classes, backbone, activation=activation)
        return WeakTr(
            classes, backbone, drop_path=drop_path, fusion_pool=fusion_pool, fusion_reduction=fusion_reduction
        )
    except (RuntimeError, TypeError, AttributeError, OSError) as error:
        raise SemplesError(
            f"generator {name!r} on backbone {backbone!r}",
            f"timm cannot make it: {str(error).splitlines()[0]}",
            "a timm ResNet for `resnet_cam`, or a timm ViT for `vit_cam` and `weaktr`",
            "correct `generator.backbone`, or name a file of weights in `generator.weights`",
        ) from error
