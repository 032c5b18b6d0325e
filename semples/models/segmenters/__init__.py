"""Segmentation networks by name, made by segmentation-models-pytorch, timm and transformers."""

from typing import Any

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from semples.errors import SemplesError
from semples.models.guide import IMAGENET_MEAN, IMAGENET_STD
from semples.models.segmenters.decoders import DeepLabV2, VitDeepLab, VitUPerNet
from semples.models.segmenters.mask2former import SWIN, MaskClassifier

# image sides are padded to multiples of this many pixels; the encoders that a network's library has
NETWORKS = {
    "deeplabv3plus": (16, "a segmentation-models-pytorch name, `tu-<timm ResNet or MobileNet>`, or `vit:<timm ViT>`"),
    "deeplabv2": (8, "`tu-<timm ResNet>`"),
    "segformer": (32, "`mit_b0` to `mit_b5`, or another segmentation-models-pytorch name"),
    "upernet": (32, "`tu-swin_...`, another segmentation-models-pytorch name, or `vit:<timm ViT>`"),
    "mask2former": (32, f"one of {', '.join(SWIN)}"),
}
Images = Float[Tensor, "batch 3 height width"]


class Segmenter(nn.Module):
    """Return logits (batch, classes + 1, height, width), background first, from RGB images in [0, 1] of any size.

    Args:
        network, encoder: A key of NETWORKS, and the name of an encoder as described there.
        classes, decoder_channels: Number of foreground classes, and width of the decoder.
    Raises:
        SemplesError: The library does not have the encoder, or not the parts of its decoder.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: str, encoder: str, classes: int, decoder_channels: int = 256) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.multiple = NETWORKS[network][0]
        self.network = _build(network, encoder, classes + 1, decoder_channels)

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that may start from ImageNet."""
        return list(self.network.encoder.parameters())

    def own_loss(self, images: Images, mask: Int[Tensor, "batch height width"], ignore: int) -> Tensor | None:
        """Return the loss of a network that has one of its own (Mask2Former); None where cross-entropy serves."""
        if not isinstance(self.network, MaskClassifier):
            return None
        return self.network.loss(self._padded((images - self.mean) / self.std), self._padded(mask, ignore), ignore)

    def forward(self, images: Images) -> Float[Tensor, "batch outputs height width"]:
        height, width = images.shape[-2:]
        return self.network(self._padded((images - self.mean) / self.std))[..., :height, :width]

    def _padded(self, images: Tensor, value: int = 0) -> Tensor:
        height, width = images.shape[-2:]
        return F.pad(images, [0, -width % self.multiple, 0, -height % self.multiple], value=value)


def _build(network: str, encoder: str, outputs: int, width: int) -> Any:
    """Return the network without normalisation and padding."""
    try:
        if network == "mask2former":
            return MaskClassifier(encoder, outputs, width)
        if network == "deeplabv2":
            return DeepLabV2(encoder.removeprefix("tu-"), outputs)
        if encoder.startswith("vit:"):
            decoder = {"deeplabv3plus": VitDeepLab, "upernet": VitUPerNet}[network]
            return decoder(encoder.removeprefix("vit:"), outputs, width)
        if network == "segformer":
            return smp.Segformer(encoder, encoder_weights=None, decoder_segmentation_channels=width, classes=outputs)
        # a Swin is built for one image size unless told otherwise
        any_size = {"strict_img_size": False} if encoder.startswith("tu-swin") else {}
        make = {"deeplabv3plus": smp.DeepLabV3Plus, "upernet": smp.UPerNet}[network]
        return make(encoder, encoder_weights=None, decoder_channels=width, classes=outputs, **any_size)
    except (ImportError, KeyError, ValueError, RuntimeError, NotImplementedError) as error:
        problem, expected = f"{encoder!r} for {network}: {error}", NETWORKS[network][1]
        raise SemplesError("segment.encoder", problem, expected, "name another encoder") from error
