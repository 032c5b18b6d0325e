"""Mask generators behind one small interface."""

from semples.models.generators.base import Maps, MaskGenerator
from semples.models.generators.conv_cam import ConvCam
from semples.models.generators.vit_cam import VitCam
from semples.models.generators.weaktr import WeakTr

__all__ = ["ConvCam", "Maps", "MaskGenerator", "VitCam", "WeakTr", "build_generator"]


def build_generator(
    name: str,
    classes: int,
    backbone: str,
    pretrained: bool = False,
    *,
    drop_path: float = 0.0,
    fusion_pool: str = "max",
    fusion_reduction: int = 8,
) -> MaskGenerator:
    """The generator called `name`; `pretrained` lets timm download ImageNet weights.

    `drop_path` is of the transformers, the `fusion_...` of WeakTr.
    """
    if name == "conv_cam":
        return ConvCam(classes)
    if name == "vit_cam":
        return VitCam(classes, backbone, pretrained, drop_path=drop_path)
    fusion = {"fusion_pool": fusion_pool, "fusion_reduction": fusion_reduction}
    return WeakTr(classes, backbone, pretrained, drop_path=drop_path, **fusion)
