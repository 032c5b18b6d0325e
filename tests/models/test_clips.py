"""Guides of several architectures, with random weights: prompts, one step of each stage, heat maps."""

import open_clip
import pytest
import torch

from semples.data.training_images import present_pairs
from semples.errors import SemplesError
from semples.models.generators import build_generator
from semples.models.guide import Guide, load_guide
from semples.models.prompts import PromptBank
from semples.models.tasks import MaskTask, PromptTask

SLOW = pytest.param("ViT-L-14", marks=pytest.mark.slow)
NAMES = ["ViT-B-32", "ViT-B-32-quickgelu", "ViT-B-16", "RN50", SLOW]


@pytest.fixture(scope="module", params=NAMES)
def guide(request) -> Guide:
    torch.manual_seed(0)
    return load_guide(request.param)


@torch.no_grad()
def test_prompt_of_real_tokens_equals_encode_text(guide):
    vectors = torch.stack([guide.token_vectors("tall green tree"), guide.token_vectors("deep blue sea")])
    expected = guide.encode_text(["a photo of tall green tree.", "a photo of deep blue sea."])
    assert (guide.encode_prompts(vectors) - expected).abs().max() < 1e-5
    assert guide.image_size == 224


def test_one_step_of_each_stage(guide):
    torch.manual_seed(0)
    labels = torch.tensor([[1.0, 0]])
    image, klass = present_pairs(labels)
    batch = {"image": torch.rand(1, 3, 64, 64), "labels": labels, "pair_image": image, "pair_class": klass}
    with torch.no_grad():
        texts = guide.encode_text(["a photo of dog.", "a photo of cat."])
    bank = PromptBank(2, 4, guide.width)
    tasks = {
        "slm": MaskTask(build_generator("conv_cam", 2, ""), guide, texts, w_bg=1, eps=0.1, head_only=False),
        "cpl": PromptTask(
            bank, build_generator("conv_cam", 2, ""), guide, texts, w_text=0.1, text_term="log", eps=1e-4
        ),
        "csr": MaskTask(
            build_generator("conv_cam", 2, ""), guide, texts, w_bg=1, eps=0.1, prompts=texts.unsqueeze(1), w_prompt=1
        ),
    }
    for name, task in tasks.items():
        loss = task.train()(batch)["loss"]
        loss.backward()
        assert torch.isfinite(loss), name
        assert all(torch.isfinite(p.grad).all() for p in task.learner.parameters() if p.grad is not None), name
        assert all(p.grad is None for p in guide.parameters()), name
    assert bank.vectors.grad is not None


def test_a_text_tower_of_another_kind_is_one_clear_error():
    config = open_clip.get_model_config("ViT-B-32")
    clip = open_clip.CustomTextCLIP(8, {**config["vision_cfg"], "layers": 1}, {**config["text_cfg"], "layers": 1})
    with pytest.raises(SemplesError, match="standard text transformer"):
        Guide(clip, open_clip.SimpleTokenizer())
