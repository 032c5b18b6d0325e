"""Mask generators behind one small interface."""

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
    fusion_pool: str = "max",
    fusion_reduction: int = 8,
    sharpness: float = 0.0,
    activation: str = "relu",
) -> MaskGenerator:
    """The generator called `name`, with random weights.

    `drop_path` is of the transformers, `fusion_...` of WeakTr, `sharpness` of `vit_cam`, `activation` of the ResNet.
    """
    try:
        if name == "conv_cam":
            return ConvCam(classes)
        if name == "vit_cam":
            return VitCam(classes, backbone, drop_path=drop_path, sharpness=sharpness)
        if name == "resnet_cam":
            return ResNetCam(classes, backbone, activation=activation)
        fusion = {"fusion_pool": fusion_pool, "fusion_reduction": fusion_reduction}
        return WeakTr(classes, backbone, drop_path=drop_path, **fusion)
    except (RuntimeError, TypeError, AttributeError, OSError) as error:
        raise SemplesError(
            f"generator {name!r} on backbone {backbone!r}",
            f"timm cannot make it: {str(error).splitlines()[0]}",
            "a timm ResNet for `resnet_cam`, a timm ViT for `vit_cam` and `weaktr`, its weights in reach",
            "correct `generator.backbone`, or name a file of weights in `generator.weights`",
        ) from error
