"""UPerNet on a plain ViT: features of one scale from four of its blocks become a pyramid."""

from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn


class VitUPerNet(nn.Module):
    """Blocks at a quarter, half, three quarters and the end of the ViT, at strides 4, 8, 16 and 32 (as in BEiT)."""

    encoder: Any

    def __init__(self, backbone: str, outputs: int, decoder_channels: int) -> None:
        # private modules: where a version lacks them, this network alone is missing
        from segmentation_models_pytorch.base import SegmentationHead
        from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder

        super().__init__()
        self.encoder = timm.create_model(backbone, num_classes=0, dynamic_img_size=True)
        width, depth = self.encoder.embed_dim, len(self.encoder.blocks)
        self.indices = [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
        twice = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.scalers = nn.ModuleList(
            [
                nn.Sequential(nn.ConvTranspose2d(width, width, 2, stride=2), nn.BatchNorm2d(width), nn.GELU(), twice),
                nn.ConvTranspose2d(width, width, 2, stride=2),
                nn.Identity(),
                nn.MaxPool2d(2),
            ]
        )
        channels = [3, 3, *[width] * 4]  # the decoder uses the last four
        self.decoder = UPerNetDecoder(encoder_channels=channels, encoder_depth=5, decoder_channels=decoder_channels)
        self.head = SegmentationHead(decoder_channels, outputs, kernel_size=1, upsampling=4)

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch outputs h w"]:
        maps = self.encoder.forward_intermediates(images, indices=self.indices, norm=True, intermediates_only=True)
        pyramid = [scale(features) for scale, features in zip(self.scalers, maps, strict=True)]
        return self.head(self.decoder([images, images, *pyramid]))
