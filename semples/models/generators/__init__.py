"""Mask generators behind one small interface."""

from collections.abc import Sequence
from typing import Literal

from semples.errors import SemplesError
from semples.models.generators.base import ConvCam, Maps, MaskGenerator, ResNetCam, VitCam
from semples.models.generators.frozen_vit import FrozenVit
from semples.models.generators.weaktr import WeakTr

__all__ = ["ConvCam", "FrozenVit", "Maps", "MaskGenerator", "ResNetCam", "VitCam", "WeakTr", "build_generator"]


def build_generator(
    name: str,
    classes: int,
    backbone: str,
    *,
    drop_path: float = 0.0,
    fusion_pool: Literal["max", "avg"] = "max",
    fusion_reduction: int = 8,
    position_resize: Literal["to_size", "by_factor"] = "to_size",
    sharpness: float = 0.0,
    activation: Literal["relu", "sigmoid"] = "relu",
    layers: Sequence[int] = (),
) -> MaskGenerator:
    """Return the generator called `name`, with random weights.

    Args:
        name: `conv_cam`, `vit_cam`, `frozen_vit`, `resnet_cam` or `weaktr`.
        classes: Number of foreground classes.
        backbone: timm's name of the network inside; `conv_cam` has none.
        drop_path: Stochastic depth of `vit_cam` and `weaktr`, in [0, 1).
        fusion_pool, fusion_reduction, position_resize: Of `weaktr` alone.
        sharpness, activation: Of `vit_cam` and `frozen_vit`, and of `resnet_cam` alone.
        layers: Of `frozen_vit` alone.
    Raises:
        SemplesError: timm cannot make the backbone, or it has no block of a number in `layers`.
    """
    try:
        if name == "conv_cam":
            return ConvCam(classes)
        if name == "vit_cam":
            return VitCam(classes, backbone, drop_path, sharpness)
        if name == "frozen_vit":
            return FrozenVit(classes, backbone, layers, sharpness)
        if name == "resnet_cam":
            return ResNetCam(classes, backbone, activation)
        return WeakTr(classes, backbone, drop_path, fusion_pool, fusion_reduction, position_resize)
    except (RuntimeError, TypeError, AttributeError, OSError) as error:
        where, problem = f"generator {name!r} on backbone {backbone!r}", f"timm cannot make it: {error}".splitlines()[0]
        expected = "a timm ResNet for `resnet_cam`, or a timm ViT for `vit_cam`, `frozen_vit` and `weaktr`"
        raise SemplesError(where, problem, expected, "correct `generator.backbone`") from error
