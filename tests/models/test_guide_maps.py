"""Maps straight from the guide: against open_clip's own modules, and against objects."""

import copy

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP

from semples.data.images import read_image, read_mask
from semples.errors import SemplesError
from semples.inference.views import as_batch
from semples.models.fast_clip import speed_up
from semples.models.guide import Guide, load_guide
from semples.models.guide_maps import _balanced, label_maps
from semples.models.masking import min_max

NAMES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike person plant sheep sofa train"
)
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def stock() -> CLIP:
    """open_clip's own model."""
    torch.manual_seed(0)
    clip = CLIP(16, {"layers": 3, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}, TEXT).eval()
    clip.visual.image_mean, clip.visual.image_std = (0.5,) * 3, (0.25,) * 3
    for parameter in clip.visual.transformer.parameters():
        parameter.data *= 3  # at initialisation all tokens are alike
    return clip


@pytest.fixture(scope="module")
def guide(stock) -> Guide:
    return Guide(copy.deepcopy(stock), open_clip.SimpleTokenizer(context_length=24))


@pytest.fixture(scope="module")
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 3, 32, 32), *(F.normalize(torch.randn(n, 16), dim=1) for n in (2, 3))


def last_block(clip: CLIP, pixels: torch.Tensor, mask: torch.Tensor | None = None):
    """Run open_clip's tower; return the output of the last block's first norm, and all tokens at its end."""
    block, seen = clip.visual.transformer.resblocks[-1], []
    hook = block.ln_1.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
    clip.visual(pixels)
    hook.remove()
    before, normed = seen[0]
    tokens = before + block.attn(normed, normed, normed, attn_mask=mask)[0]
    return normed, tokens + block.mlp(block.ln_2(tokens))


@pytest.mark.parametrize("target", ["softmax", "cosine"])
def test_gradcam_is_that_of_open_clips_own_modules(stock, guide, inputs, target):
    pixels, texts, others = inputs
    normed, tokens = last_block(stock, pixels)
    features = F.normalize(stock.visual.ln_post(tokens)[:, 0] @ stock.visual.proj, dim=1)
    values = features @ torch.cat([texts, others]).T
    if target == "softmax":
        values = (stock.logit_scale.exp() * values).softmax(dim=1)
    maps = label_maps(guide, pixels, texts, others, "gradcam", target)
    assert maps.shape == (2, 2, 4, 4)
    assert maps.max() > 0
    for image in range(2):
        for label in range(2):
            gradient = torch.autograd.grad(values[image, label], normed, retain_graph=True)[0][image]
            expected = (normed[image] * gradient.mean(dim=0)).sum(dim=1).relu()[1:].view(4, 4)
            assert torch.allclose(maps[image, label], expected, rtol=1e-3, atol=1e-6)


def test_a_single_label_without_words_has_the_gradient_of_its_cosine(guide, inputs):
    pixels, texts, others = inputs
    alone = label_maps(guide, pixels, texts[:1], others[:0], "gradcam", "softmax")
    assert torch.equal(alone, label_maps(guide, pixels, texts[:1], others[:0], "gradcam", "cosine"))
    assert alone.max() > 0


def test_patches_attend_to_themselves_alone(stock, guide, inputs):
    pixels, texts, others = inputs
    alone = torch.full((17, 17), -torch.inf).fill_diagonal_(0)
    tokens = last_block(stock, pixels, alone)[1]
    features = F.normalize(stock.visual.ln_post(tokens)[:, 1:] @ stock.visual.proj, dim=2)
    expected = (stock.logit_scale.exp() * features @ torch.cat([texts, others]).T).softmax(dim=2)[..., :2]
    maps = label_maps(guide, pixels, texts, others, "patches").flatten(2).transpose(1, 2)
    assert torch.allclose(maps, expected, atol=1e-5)


def test_self_similarity_adds_similar_queries_and_similar_keys(stock, guide, inputs):
    pixels, texts, others = inputs
    block = stock.visual.transformer.resblocks[-1]
    normed, _ = last_block(stock, pixels)
    seen: list[torch.Tensor] = []
    hook = block.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    stock.visual(pixels)
    hook.remove()
    before = seen[0]
    query, key, value = F.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=2)
    mixed = []
    for head in range(2):
        q, k, v = (part[..., 16 * head : 16 * head + 16] for part in (query, key, value))
        weights = (q @ q.mT / 4).softmax(-1) + (k @ k.mT / 4).softmax(-1)
        mixed.append(weights @ v)
    tokens = before + block.attn.out_proj(torch.cat(mixed, dim=2))
    tokens = tokens + block.mlp(block.ln_2(tokens))
    features = F.normalize(stock.visual.ln_post(tokens)[:, 1:] @ stock.visual.proj, dim=2)
    expected = (stock.logit_scale.exp() * features @ torch.cat([texts, others]).T).softmax(dim=2)[..., :2]
    maps = label_maps(guide, pixels, texts, others, "self_similarity").flatten(2).transpose(1, 2)
    assert torch.allclose(maps, expected, atol=1e-4)


def test_an_affinity_is_symmetric_and_keeps_sums():
    weights = torch.rand(2, 9, 9).softmax(dim=2)
    affinity = _balanced(weights)
    assert torch.allclose(affinity, affinity.mT, atol=1e-6)
    assert torch.allclose(affinity.sum(dim=2), torch.ones(2, 9), atol=1e-2)


def test_the_affinity_smooths_maps_by_the_attention_of_the_last_blocks(guide, inputs):
    plain = label_maps(guide, *inputs, "gradcam")
    smooth = label_maps(guide, *inputs, "gradcam", affinity_blocks=2)
    assert smooth.shape == plain.shape
    assert smooth.flatten(2).std(dim=2).mean() < plain.flatten(2).std(dim=2).mean()
    assert torch.allclose(smooth.sum((2, 3)), plain.sum((2, 3)), rtol=0.2)


@pytest.mark.parametrize("kind", ["gradcam", "patches", "self_similarity"])
def test_a_timm_tower_has_maps_too(kind):
    torch.manual_seed(0)
    vision = {"timm_model_name": "deit_tiny_patch16_224", "timm_pool": "token", "timm_proj": "", "image_size": 224}
    clip = CLIP(16, vision, TEXT).eval()
    clip.visual.image_mean, clip.visual.image_std = (0.5,) * 3, (0.2,) * 3
    guide = Guide(clip, open_clip.SimpleTokenizer(context_length=24))
    texts, others = torch.randn(2, 16), torch.randn(3, 16)
    maps = label_maps(guide, torch.randn(1, 3, 224, 224), F.normalize(texts), F.normalize(others), kind, "softmax", 2)
    assert maps.shape == (1, 2, 14, 14)
    assert (maps >= 0).all()
    assert maps.std() > 0


def test_a_residual_network_is_refused():
    clip = CLIP(16, {"layers": (1, 1, 1, 1), "width": 8, "image_size": 32, "head_width": 8}, TEXT).eval()
    clip.visual.image_mean, clip.visual.image_std = (0.5,) * 3, (0.2,) * 3
    guide = Guide(clip, open_clip.SimpleTokenizer(context_length=24))
    with pytest.raises(SemplesError, match="a ViT of open_clip or timm"):
        label_maps(guide, torch.randn(1, 3, 32, 32), torch.randn(1, 16), torch.randn(0, 16), "gradcam")


def test_the_guide_stays_as_it_was(guide, inputs):
    before = guide.encode_image(inputs[0])
    label_maps(guide, *inputs, "gradcam", affinity_blocks=3)
    assert torch.equal(guide.encode_image(inputs[0]), before)
    assert all(parameter.grad is None for parameter in guide.parameters())
    assert speed_up(guide.clip) is guide.clip


def test_on_photographs_maps_are_higher_on_objects_than_beside_them(shared):
    folder = shared / "data/VOCdevkit/VOC2012"
    guide = load_guide(f"local-dir:{shared / 'weights/photo_guide2'}")
    words = [f"a photo of {word}." for word in ("grass", "sky", "water", "road", "tree", "building", "floor", "wall")]
    with torch.no_grad():
        texts = guide.encode_text([f"a photo of {name}." for name in [*NAMES.split(), "tv monitor"]])
        others = guide.encode_text(words)
    ids, gains = (folder / "ImageSets/Segmentation/train.txt").read_text().split(), []
    for name in ids[:40]:
        mask = read_mask(folder / "SegmentationClass" / f"{name}.png")
        (klass, *more) = np.setdiff1d(np.unique(mask), [0, 255])
        if more or not 0.05 < (mask == klass).mean() < 0.5:
            continue
        pixels = guide.normalise(as_batch([read_image(folder / "JPEGImages" / f"{name}.jpg")], torch.device("cpu")))
        maps = label_maps(guide, pixels, texts[klass - 1 : klass], others, "gradcam", affinity_blocks=4)
        score = min_max(F.interpolate(maps, mask.shape, mode="bilinear")[0, 0], 1e-8).numpy()
        gains.append(score[mask == klass].mean() - score[mask == 0].mean())
    assert len(gains) > 10
    assert np.mean(gains) > 0.1
    assert np.mean(np.array(gains) > 0) > 0.8
