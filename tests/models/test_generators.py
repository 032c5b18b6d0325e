"""The small interface: maps of a grid, logits, what learns, and weights from elsewhere."""

import pytest
import timm
import torch

from semples.errors import SemplesError
from semples.models.generators import build_generator
from semples.models.generators.base import pool_scores

BACKBONES = {
    "conv_cam": ("", 4),
    "vit_cam": ("deit_tiny_patch16_224", 16),
    "frozen_vit": ("test_vit", 16),
    "weaktr": ("deit_tiny_patch16_224", 16),
    "resnet_cam": ("resnet10t", 16),
}


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_maps_have_the_grid_and_logits_the_classes(name):
    backbone, stride = BACKBONES[name]
    maps = build_generator(name, 5, backbone).eval()(torch.rand(2, 3, 64, 96))
    assert maps.cams.shape == (2, 5, 64 // stride, 96 // stride)
    assert (maps.cams >= 0).all()
    assert all(logits.shape == (2, 5) for logits in maps.logits)
    assert len(maps.logits) == (3 if name == "weaktr" else 1)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_frozen_backbone_leaves_the_head(name):
    generator = build_generator(name, 5, BACKBONES[name][0])
    generator.freeze_backbone()
    head = {id(p) for p in generator.map_head().parameters()}
    assert head
    assert {id(p) for p in generator.parameters() if p.requires_grad} == head


@pytest.mark.parametrize(("name", "prefix"), [("vit_cam", "vit."), ("resnet_cam", "resnet.")])
def test_timm_weights_become_the_backbone(name, prefix):
    backbone = BACKBONES[name][0]
    weights = timm.create_model(backbone, num_classes=7).state_dict()
    converted = build_generator(name, 5, backbone).converted(weights)
    assert all(torch.equal(converted[prefix + key], weights[key]) for key in list(weights)[:5])
    assert not any("fc." in key and "mlp" not in key for key in converted if not key.startswith("vit."))


@torch.no_grad()
def test_sigmoid_maps_lie_between_zero_and_one():
    generator = build_generator("resnet_cam", 2, "resnet10t", activation="sigmoid").eval()
    cams = generator(torch.rand(1, 3, 64, 64)).cams
    assert 0 < cams.min() < cams.max() < 1


@pytest.mark.parametrize(
    ("name", "backbone"), [("weaktr", "no_such_net"), ("weaktr", "resnet10t"), ("vit_cam", "resnet10t")]
)
def test_a_backbone_that_does_not_fit_is_one_clear_error(name, backbone):
    with pytest.raises(SemplesError, match=f"generator '{name}' on backbone '{backbone}'"):
        build_generator(name, 2, backbone)


def test_sharpness_moves_the_pooled_score_from_the_mean_to_the_largest():
    scores = torch.tensor([0.0, 1.0, 2.0, 5.0]).view(1, 1, 2, 2)
    by_hand = torch.log((torch.exp(0.5 * scores)).mean()) / 0.5
    assert pool_scores(scores, 0.0).item() == 2.0
    assert pool_scores(scores, 0.5).item() == pytest.approx(by_hand.item())
    assert pool_scores(scores, 50.0).item() == pytest.approx(5.0, abs=0.05)
    assert pool_scores(scores, 1e-3).item() == pytest.approx(2.0, abs=0.01)
