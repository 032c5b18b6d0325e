"""Segmentation networks that no library has: DeepLab 2, and the decoders of DeepLab 3+ and UPerNet on a plain ViT."""

from typing import Any

import timm
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

RATES = (6, 12, 18, 24)  # ASPP-L, arXiv 1606.00915, section 3.2


class DeepLabV2(nn.Module):
    """A ResNet at stride 8, and the sum of four dilated 3x3 classifiers (arXiv 1606.00915).

    As published, the batch normalisation of the encoder keeps its running statistics while it learns.
    """

    encoder: Any

    def __init__(self, backbone: str, outputs: int) -> None:
        super().__init__()
        self.encoder = timm.create_model(backbone, features_only=True, output_stride=8, out_indices=(4,))
        width = self.encoder.feature_info.channels()[-1]
        heads = [nn.Conv2d(width, outputs, 3, padding=rate, dilation=rate) for rate in RATES]
        for head in heads:
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.get_parameter("bias"))
        self.heads = nn.ModuleList(heads)

    def train(self, mode: bool = True) -> "DeepLabV2":
        """Set the training mode, except for the encoder's batch normalisation."""
        super().train(mode)
        for part in self.encoder.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        return self

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch outputs h w"]:
        (features,) = self.encoder(images)
        scores = sum(head(features) for head in self.heads)
        return F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False)


class VitDeepLab(nn.Module):
    """The DeepLabV3+ decoder on a plain ViT: deep features are its last tokens, fine ones a third of the way up."""

    encoder: Any

    def __init__(self, backbone: str, outputs: int, decoder_channels: int) -> None:
        # private modules: where a version lacks them, this network alone is missing
        from segmentation_models_pytorch.base import SegmentationHead
        from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder

        super().__init__()
        self.encoder = timm.create_model(backbone, num_classes=0, dynamic_img_size=True)
        width, depth, fine = self.encoder.embed_dim, len(self.encoder.blocks), 64
        self.indices = [depth // 3 - 1, depth - 1]
        self.up = nn.Sequential(_twice(width, fine), nn.GELU(), _twice(fine, fine))
        aspp = {"atrous_rates": (3, 6, 9), "output_stride": 16, "aspp_separable": True, "aspp_dropout": 0.1}
        self.decoder = DeepLabV3PlusDecoder((3, fine, fine, width), 5, decoder_channels, **aspp)
        self.head = SegmentationHead(decoder_channels, outputs, kernel_size=1, upsampling=4)

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch outputs h w"]:
        maps = self.encoder.forward_intermediates(images, indices=self.indices, norm=True, intermediates_only=True)
        fine = self.up(maps[0])  # a quarter of the image's side
        return self.head(self.decoder([images, fine, fine, maps[1]]))


class VitUPerNet(nn.Module):
    """UPerNet on blocks at a quarter, half, three quarters and the end of a ViT, at strides 4 to 32 (as in BEiT)."""

    encoder: Any

    def __init__(self, backbone: str, outputs: int, decoder_channels: int) -> None:
        from segmentation_models_pytorch.base import SegmentationHead
        from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder

        super().__init__()
        self.encoder = timm.create_model(backbone, num_classes=0, dynamic_img_size=True)
        width, depth = self.encoder.embed_dim, len(self.encoder.blocks)
        self.indices = [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
        last, first = _twice(width, width), _twice(width, width)
        fine = nn.Sequential(first, nn.BatchNorm2d(width), nn.GELU(), last)
        self.scalers = nn.ModuleList([fine, _twice(width, width), nn.Identity(), nn.MaxPool2d(2)])
        self.decoder = UPerNetDecoder([3, 3, *[width] * 4], 5, decoder_channels)  # it uses the last four
        self.head = SegmentationHead(decoder_channels, outputs, kernel_size=1, upsampling=4)

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch outputs h w"]:
        maps = self.encoder.forward_intermediates(images, indices=self.indices, norm=True, intermediates_only=True)
        pyramid = [scale(features) for scale, features in zip(self.scalers, maps, strict=True)]
        return self.head(self.decoder([images, images, *pyramid]))


def _twice(inside: int, outside: int) -> nn.ConvTranspose2d:
    """Return a convolution that doubles the side."""
    return nn.ConvTranspose2d(inside, outside, 2, stride=2)
