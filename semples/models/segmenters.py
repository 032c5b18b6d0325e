"""Segmentation networks: DeepLabV3+ of segmentation-models-pytorch on a convolutional or a ViT encoder."""

import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from torch import Tensor, nn

from semples.models.guide import IMAGENET_MEAN, IMAGENET_STD


class Segmenter(nn.Module):
    """RGB in [0, 1] (batch, 3, height, width), sides multiples of 16 -> scores (batch, classes + 1, height, width)."""

    def __init__(self, encoder: str, classes: int, decoder_channels: int, imagenet: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        if encoder.startswith("vit:"):
            self.network = VitDeepLab(encoder.removeprefix("vit:"), classes + 1, decoder_channels, imagenet)
        else:
            self.network = smp.DeepLabV3Plus(
                encoder_name=encoder,
                encoder_weights="imagenet" if imagenet else None,
                decoder_channels=decoder_channels,
                classes=classes + 1,
            )

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Parameters that may start from ImageNet."""
        return list(self.network.encoder.parameters())

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


class VitDeepLab(nn.Module):
    """The DeepLabV3+ decoder on a plain ViT: deep features are its last tokens, fine ones a third of the way up."""

    def __init__(self, backbone: str, outputs: int, decoder_channels: int, pretrained: bool) -> None:
        super().__init__()
        self.encoder = timm.create_model(backbone, pretrained=pretrained, num_classes=0, dynamic_img_size=True)
        width, fine = self.encoder.embed_dim, 64
        self.early = len(self.encoder.blocks) // 3 - 1
        self.up = nn.Sequential(
            nn.ConvTranspose2d(width, fine, 2, stride=2),
            nn.GELU(),
            nn.ConvTranspose2d(fine, fine, 2, stride=2),
        )
        self.decoder = DeepLabV3PlusDecoder(
            encoder_channels=(3, fine, fine, width),
            encoder_depth=5,
            out_channels=decoder_channels,
            atrous_rates=(3, 6, 9),
            output_stride=16,
            aspp_separable=True,
            aspp_dropout=0.1,
        )
        self.head = SegmentationHead(decoder_channels, outputs, kernel_size=1, upsampling=4)

    def forward(self, images: Tensor) -> Tensor:
        last = len(self.encoder.blocks) - 1
        deep, fine = self.encoder.forward_intermediates(
            images, indices=[self.early, last], norm=True, intermediates_only=True
        )[::-1]
        fine = self.up(fine)  # a quarter of the image's side
        return self.head(self.decoder([images, fine, fine, deep]))
