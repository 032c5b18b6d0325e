"""Segmentation networks: shapes, parts, and clear errors."""

import sys

import pytest
import torch
from torch import nn

from semples.errors import SemplesError
from semples.models.segmenters import Segmenter

NETWORKS = [
    ("deeplabv3plus", "tu-resnet10t"),
    ("deeplabv3plus", "vit:deit_tiny_patch16_224"),
    ("deeplabv2", "tu-resnet18"),
    ("segformer", "mit_b0"),
    ("upernet", "tu-convnext_atto"),
    ("upernet", "tu-swin_tiny_patch4_window7_224"),
    ("upernet", "vit:deit_tiny_patch16_224"),
]


@pytest.mark.parametrize(("network", "encoder"), NETWORKS)
def test_scores_have_the_images_size_whatever_it_is(network, encoder):
    found = Segmenter(network, encoder, classes=5, decoder_channels=16).eval()
    with torch.no_grad():
        for size in [(32, 64), (45, 70)]:
            assert found(torch.rand(2, 3, *size)).shape == (2, 6, *size)


@pytest.mark.parametrize(("network", "encoder"), NETWORKS)
def test_encoder_parameters_are_the_encoders(network, encoder):
    found = Segmenter(network, encoder, classes=5, decoder_channels=16)
    inside = sum(p.numel() for p in found.encoder_parameters())
    assert inside == sum(p.numel() for p in found.network.encoder.parameters())
    assert 0 < inside < sum(p.numel() for p in found.parameters())


def test_padding_does_not_reach_into_an_image_of_a_fitting_size():
    found = Segmenter("deeplabv3plus", "tu-resnet10t", classes=2, decoder_channels=16).eval()
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(found(image), found.network((image - found.mean) / found.std))


def test_deeplab_v2_keeps_the_statistics_of_its_encoder_at_stride_8():
    found = Segmenter("deeplabv2", "tu-resnet18", classes=2).train()
    norms = [part for part in found.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms
    assert not any(part.training for part in norms)
    assert found.network.encoder(torch.rand(1, 3, 64, 64))[0].shape[-2:] == (8, 8)


def test_an_unknown_encoder_is_one_clear_error():
    with pytest.raises(SemplesError, match=r"'no-such-net' for upernet") as error:
        Segmenter("upernet", "no-such-net", classes=2)
    assert "tu-swin_..." in str(error.value)
    with pytest.raises(SemplesError, match="swin-tiny, swin-small"):
        Segmenter("mask2former", "resnet101", classes=2)


def test_without_transformers_mask2former_names_its_extra(monkeypatch):
    monkeypatch.setattr("semples.models.optional.find_spec", {"transformers": None}.get)
    with pytest.raises(SemplesError, match=r"pip install '\.\[mask2former\]'"):
        Segmenter("mask2former", "swin-tiny", classes=2)


@pytest.mark.parametrize(("network", "private"), [("deeplabv3plus", "deeplabv3"), ("upernet", "upernet")])
def test_without_a_private_decoder_only_the_networks_on_a_vit_are_missing(monkeypatch, network, private):
    monkeypatch.setitem(sys.modules, f"segmentation_models_pytorch.decoders.{private}.decoder", None)
    with pytest.raises(SemplesError, match=f"segment.encoder(.|\n)*{private}"):
        Segmenter(network, "vit:vit_tiny_patch16_224", classes=2)
    Segmenter(network, "resnet18", classes=2, decoder_channels=16)
