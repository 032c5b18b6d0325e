"""Guides of several architectures, with random weights: prompts, one step of each stage, heat maps."""

import open_clip
import pytest
import torch
from open_clip.model import CLIP

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


@torch.no_grad()
def test_heat_of_a_patch_is_its_own_cosine(guide):
    pixels, embeddings = torch.rand(1, 3, 224, 224), guide.encode_text(["a photo of dog.", "a photo of sea."])
    if not hasattr(guide.clip.visual, "grid_size"):
        with pytest.raises(SemplesError, match="without patch tokens"):
            guide.patch_cosines(pixels, embeddings)
        return
    found = guide.patch_cosines(pixels, embeddings)
    rows, columns = guide.clip.visual.grid_size
    assert found.shape == (1, 2, rows, columns)
    assert (found >= 0).all()
    output = guide.clip.visual.forward_intermediates(pixels, indices=1, normalize_intermediates=True)
    patch = output["image_intermediates"][-1][0, :, 0, 1] @ guide.clip.visual.proj
    expected = torch.nn.functional.cosine_similarity(patch[None], embeddings).clamp(min=0)
    assert torch.allclose(found[0, :, 0, 1], expected, atol=1e-5)
    assert guide.clip.visual.output_tokens is False


def test_a_text_tower_of_another_kind_is_one_clear_error():
    config = open_clip.get_model_config("ViT-B-32")
    clip = open_clip.CustomTextCLIP(8, {**config["vision_cfg"], "layers": 1}, {**config["text_cfg"], "layers": 1})
    with pytest.raises(SemplesError, match="standard text transformer"):
        Guide(clip, open_clip.SimpleTokenizer())


@torch.no_grad()
def test_patches_of_a_timm_tower_go_the_way_of_its_class_token():
    vision = {"timm_model_name": "deit_tiny_patch16_224", "timm_pool": "token", "timm_proj": "", "image_size": 224}
    clip = CLIP(16, vision, {"context_length": 24, "width": 16, "heads": 2, "layers": 1}).eval()
    clip.visual.image_mean, clip.visual.image_std = (0.5,) * 3, (0.2,) * 3
    guide = Guide(clip, open_clip.SimpleTokenizer(context_length=24))
    pixels = torch.rand(2, 3, 224, 224)
    features, grid = guide._patch_features(pixels)
    assert (features.shape, grid) == ((2, 196, 16), (14, 14))
    clip.visual.trunk.num_prefix_tokens = 0  # then the class token is the first of the patches
    every, _ = guide._patch_features(pixels)
    assert torch.allclose(every[:, 1:], features)
    assert torch.allclose(every[:, 0], clip.encode_image(pixels), atol=1e-6)
