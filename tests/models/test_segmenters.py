"""Segmentation networks: shapes, and that they can learn."""

import pytest
import torch

from semples.models.segmenters import Segmenter
from semples.models.tasks import SegmentTask


@pytest.mark.parametrize("encoder", ["tu-resnet10t", "vit:deit_tiny_patch16_224"])
@pytest.mark.parametrize("size", [(32, 48), (96, 64)])
def test_scores_have_the_images_size(encoder, size):
    network = Segmenter(encoder, classes=5, decoder_channels=16).eval()
    assert network(torch.rand(2, 3, *size)).shape == (2, 6, *size)


@pytest.mark.parametrize("encoder", ["tu-resnet10t", "vit:deit_tiny_patch16_224"])
def test_encoder_parameters_are_the_encoders(encoder):
    network = Segmenter(encoder, classes=5, decoder_channels=16)
    inside = sum(p.numel() for p in network.encoder_parameters())
    assert inside == sum(p.numel() for p in network.network.encoder.parameters())
    assert 0 < inside < sum(p.numel() for p in network.parameters())


def test_it_overfits_two_images():
    torch.manual_seed(0)
    image, mask = torch.rand(2, 3, 32, 32), torch.zeros(2, 32, 32, dtype=torch.long)
    mask[:, 8:24, 8:24] = 1
    image[:, 0][mask == 1] = 1
    task = SegmentTask(Segmenter("tu-resnet10t", classes=1, decoder_channels=16)).train()
    optimizer = torch.optim.AdamW(task.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        task({"image": image, "mask": mask})["loss"].backward()
        optimizer.step()
    assert (task.learner(image).argmax(1) == mask).float().mean() > 0.9
