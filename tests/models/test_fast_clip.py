"""The faster towers against open_clip's own: values, gradients and the names of the weights."""

import copy

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from open_clip.transformer import QuickGELU
from torch import nn

from semples.models.fast_clip import (
    PatchEmbedding,
    QuickGelu,
    SelfAttention,
    encode_embedded,
    encode_image,
    speed_up,
)
from semples.models.guide import Guide


@pytest.fixture(scope="module", params=[False, True], ids=["gelu", "quickgelu"])
def pair(request) -> tuple[CLIP, CLIP]:
    """open_clip's model, and the same with faster modules."""
    torch.manual_seed(0)
    vision = {"layers": 3, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}
    text = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    stock = CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text, quick_gelu=request.param).eval()
    stock.visual.image_mean, stock.visual.image_std = (0.5,) * 3, (0.25,) * 3
    return stock, speed_up(copy.deepcopy(stock))


def test_modules_are_replaced_and_weights_keep_their_names(pair):
    stock, fast = pair
    kinds = [type(part) for part in fast.modules()]
    assert kinds.count(SelfAttention) == 5
    assert kinds.count(PatchEmbedding) == 1
    assert nn.MultiheadAttention not in kinds
    assert QuickGELU not in kinds
    assert kinds.count(QuickGelu) == [type(part) for part in stock.modules()].count(QuickGELU)
    assert list(stock.state_dict()) == list(fast.state_dict())


def test_images_have_the_same_embeddings_and_gradients(pair):
    found = []
    for encode in (pair[0].encode_image, lambda pixels: encode_image(pair[1], pixels)):
        torch.manual_seed(1)
        pixels = torch.randn(3, 3, 32, 32, requires_grad=True)
        features = encode(pixels)
        features.square().sum().backward()
        found.append((features, pixels.grad))
    for one, two in zip(*found, strict=True):
        assert torch.allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quickgelu_is_open_clips(dtype):
    values = torch.linspace(-9, 9, 4001)
    results = []
    for module, precision in ((QuickGELU(), torch.float64), (QuickGelu(), dtype)):
        inputs = values.to(precision).requires_grad_()
        module(inputs).square().sum().backward()
        results.append((module(inputs).double(), inputs.grad.double()))
    for theirs, ours in zip(*results, strict=True):
        assert ((theirs - ours).abs() < 16 * torch.finfo(dtype).eps * theirs.abs().clamp(min=1)).all()


class Opaque(nn.Module):
    """A module that hides the attributes of the one inside, as a version of open_clip with other names would."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, *args, **named):
        return self.inside(*args, **named)


@pytest.mark.parametrize("hidden", ["visual", "transformer", "block"])
def test_without_a_private_attribute_open_clip_computes(pair, hidden):
    clip = copy.deepcopy(pair[1])
    if hidden == "block":
        clip.transformer.resblocks[-1] = Opaque(clip.transformer.resblocks[-1])
        clip.visual.transformer.resblocks[-1] = Opaque(clip.visual.transformer.resblocks[-1])
    else:
        setattr(clip, hidden, Opaque(getattr(clip, hidden)))
    pixels, embedded = torch.randn(2, 3, 32, 32), torch.randn(2, 24, 16)
    assert torch.allclose(encode_image(clip, pixels), encode_image(pair[1], pixels), atol=1e-5)
    assert torch.allclose(encode_embedded(clip, embedded, 7), encode_embedded(pair[1], embedded, 7), atol=1e-5)


def test_texts_and_all_tokens_stay_the_same(pair):
    stock, fast = pair
    tokens = open_clip.SimpleTokenizer(context_length=24)(["a photo of a dog.", "sea"])
    assert torch.allclose(stock.encode_text(tokens), fast.encode_text(tokens), atol=1e-5)
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.allclose(stock.encode_image(pixels), fast.encode_image(pixels), atol=1e-5)


def test_prompts_without_the_tokens_after_their_end_are_those_of_the_whole_context(pair):
    guide = Guide(copy.deepcopy(pair[0]), open_clip.SimpleTokenizer(context_length=24))
    vectors = torch.rand(3, 4, 16, requires_grad=True)
    guide.encode_prompts(vectors).sum().backward()
    short, vectors.grad = vectors.grad, None
    tokens, first = guide._prompt_tokens(4, "end_of_word")
    clip = pair[0]
    embedded = clip.token_embedding(tokens).expand(3, -1, -1)
    embedded = torch.cat([embedded[:, :first], vectors, embedded[:, first + 4 :]], dim=1)
    hidden = clip.ln_final(clip.transformer(embedded + clip.positional_embedding, attn_mask=clip.attn_mask))
    end = hidden[:, tokens[0].argmax()] @ clip.text_projection
    expected = nn.functional.normalize(end, dim=-1)
    assert torch.allclose(guide.encode_prompts(vectors), expected, atol=1e-5)
    expected.sum().backward()
    assert torch.allclose(short, vectors.grad, atol=1e-5)
