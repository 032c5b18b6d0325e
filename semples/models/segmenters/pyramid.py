"""UPerNet on a plain ViT, whose features all have one scale: four of its blocks become a pyramid."""

import timm
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn


class VitUPerNet(nn.Module):
    """Blocks at a quarter, half, three quarters and the end of the ViT, at strides 4, 8, 16 and 32 (as BEiT has it)."""

    def __init__(self, backbone: str, outputs: int, decoder_channels: int) -> None:
        super().__init__()
        self.encoder = timm.create_model(backbone, num_classes=0, dynamic_img_size=True)
        width, depth = self.encoder.embed_dim, len(self.encoder.blocks)
        self.places = [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
        twice = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.scalers = nn.ModuleList(
            [
                nn.Sequential(nn.ConvTranspose2d(width, width, 2, stride=2), nn.BatchNorm2d(width), nn.GELU(), twice),
                nn.ConvTranspose2d(width, width, 2, stride=2),
                nn.Identity(),
                nn.MaxPool2d(2),
            ]
        )
        channels = [3, 3, *[width] * 4]  # the decoder looks at the last four
        self.decoder = UPerNetDecoder(encoder_channels=channels, encoder_depth=5, decoder_channels=decoder_channels)
        self.head = SegmentationHead(decoder_channels, outputs, kernel_size=1, upsampling=4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.encoder.forward_intermediates(images, indices=self.places, norm=True, intermediates_only=True)
        pyramid = [scale(found) for scale, found in zip(self.scalers, maps, strict=True)]
        return self.head(self.decoder([images, images, *pyramid]))
