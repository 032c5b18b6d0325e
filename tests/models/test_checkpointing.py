"""Activation checkpointing: the same losses and gradients, and fewer values in memory."""

import copy
from collections.abc import Callable

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor, nn

from semples.models.generators import build_generator
from semples.models.guide import Guide


def kept_bytes(step: Callable[[], Tensor]) -> int:
    """Bytes that a step saves for its backward pass, without parameters, each storage once."""
    sizes = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = step()
    assert loss.requires_grad
    return sum(sizes.values())


def compared(module: nn.Module, step: Callable[[nn.Module], Tensor]) -> float:
    """Assert that losses and gradients are equal; return the fraction of the memory that checkpointing takes."""
    results, kept = [], []
    for enable in (False, True):
        module.set_checkpointing(enable)
        module.zero_grad()
        torch.manual_seed(1)  # stochastic depth
        loss = step(module)
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
        results.append({"loss": loss.detach(), **gradients})
        kept.append(kept_bytes(lambda: step(module)))
    plain, again = results
    assert plain.keys() == again.keys()
    assert len(plain) > 1
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    return kept[1] / kept[0]


@pytest.mark.parametrize(("name", "share"), [("weaktr", 0.5), ("vit_cam", 0.4)])
def test_a_generator_learns_the_same_in_less_memory(name, share):
    torch.manual_seed(0)
    generator = build_generator(name, 3, "deit_tiny_patch16_224", drop_path=0.5).train()
    images = torch.rand(2, 3, 64, 64)

    def step(generator: nn.Module) -> Tensor:
        maps = generator(images)
        return maps.cams.square().mean() + sum(logits.sin().sum() for logits in maps.logits)

    assert compared(generator, step) < share


@pytest.fixture(params=["open_clip's", "timm's"])
def guide(request) -> Guide:
    """A random guide of four blocks in each tower."""
    torch.manual_seed(0)
    vision = {"layers": 4, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}
    if request.param == "timm's":
        vision = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "timm_proj": "", "image_size": 224}
    width = 32 if request.param == "open_clip's" else 192
    text = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 4}
    return random_guide(CLIP(embed_dim=width, vision_cfg=vision, text_cfg=text))


def random_guide(clip: CLIP) -> Guide:
    clip.visual.image_mean, clip.visual.image_std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    return Guide(clip, open_clip.SimpleTokenizer(context_length=24))


class Inputs(nn.Module):
    """Pixels and prompts, to which the frozen guide sends gradients."""

    def __init__(self, guide: Guide) -> None:
        super().__init__()
        self.guide = guide
        self.pixels = nn.Parameter(torch.rand(2, 3, guide.image_size, guide.image_size))
        self.vectors = nn.Parameter(torch.rand(3, 4, guide.width))

    def set_checkpointing(self, enable: bool) -> None:
        self.guide.set_checkpointing(enable)


@pytest.mark.parametrize(("kind", "share"), [("image", 0.5), ("prompts", 0.6)])
def test_the_guide_sends_the_same_gradients_in_less_memory(guide, kind, share):
    steps = {
        "image": lambda inputs: inputs.guide.encode_image(inputs.pixels)[:, :5].sum(),
        "prompts": lambda inputs: inputs.guide.encode_prompts(inputs.vectors)[:, :5].sum(),
    }
    assert compared(Inputs(guide), steps[kind]) < share


def test_what_has_no_transformer_takes_the_switch_too():
    tower = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}
    text = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    resnet = random_guide(CLIP(embed_dim=16, vision_cfg=tower, text_cfg=text))
    resnet.set_checkpointing(True)
    assert torch.isfinite(resnet.encode_image(torch.rand(1, 3, 32, 32))).all()
    generator = build_generator("conv_cam", 3, "")
    before = copy.deepcopy(generator).eval()(images := torch.rand(1, 3, 32, 32)).cams
    generator.set_checkpointing(True)
    assert torch.equal(generator.eval()(images).cams, before)
