"""The frozen transformer: any patch and image size, a backbone that never changes, names that are refused."""

import re

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from semples.config.contradictions import PLAIN_VITS
from semples.config.load import load
from semples.errors import SemplesError
from semples.models.generators import FrozenVit, build_generator
from semples.models.tasks import ClassifyTask
from semples.weights.generators import load_weights

TINY = "test_vit"  # of timm: 6 blocks of width 64
PAIRS = {"pair_image": torch.arange(2), "pair_class": torch.arange(2)}  # of two images, each with its own class
PLAIN = ("vision_transformer", "vision_transformer_hybrid", "deit", "eva", "vitamin")
OTHERS = ("resnet", "swin_transformer", "convnext", "vision_transformer_relpos", "vision_transformer_sam", "fastvit")


@pytest.mark.parametrize(
    ("backbone", "size", "grid"),
    [
        (TINY, (64, 96), (4, 6)),
        (TINY, (70, 90), (4, 6)),
        (TINY, (5, 40), (1, 2)),
        ("eva02_tiny_patch14_224", (30, 47), (2, 3)),
        ("vit_small_patch14_dinov2", (28, 42), (2, 3)),
    ],
)
def test_maps_have_the_grid_of_the_backbones_own_patches(backbone, size, grid):
    with torch.device("meta"):
        generator = FrozenVit(3, backbone)
        images = torch.rand(2, 3, *size)
        features, maps = generator.features(images), generator(images)
    assert features.dtype == torch.float16
    assert features.shape[1:] == generator.features_shape(*size) == (4 * generator.vit.embed_dim, *grid)
    assert maps.cams.shape == (2, 3, *grid)
    assert maps.logits[0].shape == (2, 3)


def test_features_are_the_normalised_tokens_of_the_named_blocks():
    torch.manual_seed(0)
    generator, images = FrozenVit(3, TINY, layers=[6, 2]).eval(), torch.rand(1, 3, 160, 160)
    second, last = generator.features(images).float().unflatten(1, (2, -1)).unbind(1)
    pixels = (images - generator.mean) / generator.std
    tokens = generator.vit.forward_features(pixels)[:, generator.vit.num_prefix_tokens :]  # its norm is still 1 and 0
    assert torch.allclose(last.flatten(2).transpose(1, 2), tokens, atol=5e-3)
    assert not torch.allclose(second, last, atol=0.1)
    assert torch.allclose(second.mean(1), torch.zeros(1, 10, 10), atol=1e-3)
    assert torch.allclose(second.var(1, unbiased=False), torch.ones(1, 10, 10), atol=1e-2)


def test_positions_follow_the_size_of_the_image():
    """With smooth positions, an image of one colour has nearly the same features at half its size."""
    torch.manual_seed(0)
    generator = FrozenVit(3, TINY, layers=[1]).eval()
    smooth = F.interpolate(torch.randn(1, 64, 2, 2), size=(10, 10), mode="bilinear", align_corners=True)
    generator.vit.pos_embed.data[:, 1:] = smooth.flatten(2).transpose(1, 2)
    large, small = (generator.features(torch.full((1, 3, side, side), 0.5)).float() for side in (160, 80))
    halved = F.interpolate(large, size=(5, 5), mode="bilinear", antialias=True)
    assert (halved - small).abs().mean() < 0.1 * small.abs().mean()
    assert (halved - small.flip(-1)).abs().mean() > 0.3 * small.abs().mean()


def test_only_the_head_learns_whatever_the_task_says():
    torch.manual_seed(0)
    generator = FrozenVit(2, TINY)
    task = ClassifyTask(generator, head_only=False).train()
    assert not generator.vit.training
    assert generator.token_head.training
    learning = {name for name, parameter in generator.named_parameters() if parameter.requires_grad}
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=1.0)
    task(PAIRS | {"image": torch.rand(2, 3, 32, 32), "labels": torch.eye(2)})["loss"].backward()
    optimizer.step()
    changed = {name for name, value in generator.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == learning == {name for name in before if name.startswith("token_head.")}


def test_a_batch_with_features_gives_the_loss_of_its_images():
    torch.manual_seed(0)
    generator, images = FrozenVit(2, TINY).eval(), torch.rand(2, 3, 32, 32)
    task, labels = ClassifyTask(generator), torch.eye(2)
    stored = PAIRS | {"features": generator.features(images), "labels": labels}
    assert torch.equal(task(stored)["loss"], task(PAIRS | {"image": images, "labels": labels})["loss"])


def test_weights_of_timm_become_the_backbone_and_leave_the_head_as_drawn(tmp_path):
    vit, generator = timm.create_model(TINY, num_classes=7), FrozenVit(3, TINY)
    save_file(vit.state_dict(), tmp_path / "vit.safetensors")
    head = generator.token_head[0].weight.clone()
    load_weights(generator, tmp_path / "vit.safetensors")
    assert torch.equal(generator.vit.patch_embed.proj.weight, vit.patch_embed.proj.weight)
    assert torch.equal(generator.token_head[0].weight, head)
    save_file(generator.state_dict(), tmp_path / "whole.safetensors")
    again = FrozenVit(3, TINY)
    load_weights(again, tmp_path / "whole.safetensors")
    assert torch.equal(again.token_head[0].weight, head)


def test_a_block_that_the_backbone_does_not_have_is_an_error():
    with pytest.raises(SemplesError, match=r"layers\n  found:    7\n  expected: 1 to 6, the blocks of test_vit"):
        build_generator("frozen_vit", 2, TINY, layers=[3, 7])


@pytest.mark.parametrize("backbone", ["resnet10t", "beit_base_patch16_224", "no_such_net"])
def test_a_network_that_is_no_plain_vit_is_refused_when_settings_are_read_and_when_it_is_made(backbone):
    with pytest.raises(SemplesError, match=f"backbone: {backbone}` with `generator.name: frozen_vit`"):
        load({"preset": "voc12", "experiments": {"row": {"generator": {"name": "frozen_vit", "backbone": backbone}}}})
    with pytest.raises(SemplesError, match=f"generator 'frozen_vit' on backbone '{backbone}'"):
        build_generator("frozen_vit", 2, backbone)


def test_settings_take_all_plain_transformers_of_timm_and_no_others():
    names = {kind: [name for module in kind for name in timm.list_models(module=module)] for kind in (PLAIN, OTHERS)}
    names[PLAIN] += ["vit_small_patch14_dinov2.lvd142m", "hf-hub:timm/vit_small_patch14_dinov2.lvd142m"]
    assert [name for name in names[PLAIN] if not re.fullmatch(PLAIN_VITS, name)] == []
    assert [name for name in names[OTHERS] if re.fullmatch(PLAIN_VITS, name)] == []
