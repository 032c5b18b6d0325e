"""Learned prompts go through the guide's own text tower."""

import pytest
import torch

from semples.errors import SemplesError
from semples.models.guide import IMAGENET_MEAN, Guide, load_guide


@torch.no_grad()
def test_prompt_of_real_tokens_equals_encode_text(tiny_guide):
    vectors = torch.stack([tiny_guide.token_vectors("tall green tree"), tiny_guide.token_vectors("deep blue sea")])
    found = tiny_guide.encode_prompts(vectors)
    expected = tiny_guide.encode_text(["a photo of tall green tree.", "a photo of deep blue sea."])
    assert (found - expected).abs().max() < 1e-5


@torch.no_grad()
def test_prompt_of_real_tokens_equals_encode_text_of_a_real_guide(shared):
    guide = load_guide(f"local-dir:{shared / 'weights' / 'photo_guide'}")
    found = guide.encode_prompts(guide.token_vectors("railway platform").unsqueeze(0))
    assert (found - guide.encode_text(["a photo of railway platform."])).abs().max() < 1e-5


def test_longest_prompt_fits_and_a_longer_one_is_an_error(tiny_guide):
    assert tiny_guide.encode_prompts(torch.rand(1, 18, tiny_guide.width)).shape == (1, 16)  # context 24 less 6
    with pytest.raises(SemplesError, match="at most 18"):
        tiny_guide.encode_prompts(torch.rand(1, 19, tiny_guide.width))


def test_prompt_gradient_reaches_every_vector(tiny_guide):
    vectors = torch.rand(2, 4, tiny_guide.width, requires_grad=True)
    tiny_guide.encode_prompts(vectors)[:, 0].sum().backward()
    assert (vectors.grad.abs().sum(dim=2) > 0).all()


def test_normalise_uses_the_guides_own_statistics(tiny_guide):
    grey = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    pixels = tiny_guide.normalise(grey)
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels.abs().max() < 1e-5


def test_guide_stays_frozen_and_in_evaluation_mode(tiny_guide):
    assert not any(p.requires_grad for p in tiny_guide.parameters())
    assert not tiny_guide.train().training


def test_embeddings_have_unit_length(tiny_guide):
    images = tiny_guide.encode_image(tiny_guide.normalise(torch.rand(3, 3, 32, 32)))
    assert torch.allclose(images.norm(dim=1), torch.ones(3))


def test_missing_model_is_one_clear_error():
    with pytest.raises(SemplesError, match=r"guide 'local-dir:/nowhere'"):
        load_guide("local-dir:/nowhere")


def test_the_dot_is_a_word_or_bare(tiny_guide):
    word, bare = (tiny_guide._prompt_tokens(3, final_period)[0][0] for final_period in ("end_of_word", "bare"))
    assert word[7].item() == 269
    assert bare[7].item() == 13
    assert torch.equal(torch.cat([word[:7], word[8:]]), torch.cat([bare[:7], bare[8:]]))


@torch.no_grad()
def test_the_dot_changes_the_embedding(tiny_guide):
    vectors = torch.rand(1, 3, tiny_guide.width)
    assert not torch.allclose(tiny_guide.encode_prompts(vectors), tiny_guide.encode_prompts(vectors, "bare"))


@torch.no_grad()
def test_templates_are_averaged(tiny_guide):
    templates = ["a photo of {}.", "a drawing of {}."]
    parts = torch.stack([tiny_guide.encode_text([template.format("dog")]) for template in templates])
    expected = torch.nn.functional.normalize(parts.mean(0), dim=-1)
    assert torch.allclose(tiny_guide.encode_classes(["dog"], templates), expected)
    assert torch.allclose(tiny_guide.encode_classes(["dog"], templates[:1]), parts[0])


@torch.no_grad()
def test_many_sentences_equal_a_few_at_a_time(tiny_guide):
    sentences = [f"a photo of {number}." for number in range(300)]
    assert torch.allclose(tiny_guide.encode_text(sentences)[290:], tiny_guide.encode_text(sentences[290:]), atol=1e-6)


@pytest.mark.parametrize(("fill", "colour"), [("mean", (0.4, 0.5, 0.6)), ("black", (0, 0, 0)), ("white", (1, 1, 1))])
def test_what_is_masked_out_has_the_colour_of_the_fill(tiny_guide, fill, colour):
    guide = Guide(tiny_guide.clip, tiny_guide.tokenizer, fill=fill)
    assert torch.allclose((guide.fill * guide.std + guide.mean).flatten(), torch.tensor(colour, dtype=torch.float32))


def test_imagenet_statistics_on_request(tiny_guide):
    guide = Guide(tiny_guide.clip, tiny_guide.tokenizer, "imagenet")
    assert guide.mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)


def test_centre_takes_away_what_all_images_share(tiny_guide):
    pixels = tiny_guide.normalise(torch.rand(6, 3, 32, 32))
    plain = tiny_guide.encode_image(pixels)
    assert (plain @ plain.T).min() > 0.5  # random images look alike to a random guide
    tiny_guide.image_centre = plain.mean(dim=0)
    try:
        centred = tiny_guide.encode_image(pixels)
    finally:
        tiny_guide.image_centre = torch.zeros(1)
    assert torch.allclose(centred, torch.nn.functional.normalize(plain - plain.mean(dim=0), dim=-1), atol=1e-5)
    assert torch.allclose(centred.norm(dim=1), torch.ones(6))
    assert (centred @ centred.T).min() < 0


def test_prompts_and_texts_are_centred_alike(tiny_guide):
    vectors = tiny_guide.token_vectors("red sea").unsqueeze(0)
    try:
        tiny_guide.text_centre = tiny_guide.encode_text(["a dog.", "a red cat.", "water."]).mean(dim=0)
        said, learned = tiny_guide.encode_text(["a photo of red sea."]), tiny_guide.encode_prompts(vectors)
    finally:
        tiny_guide.text_centre = torch.zeros(1)
    assert torch.allclose(learned, said, atol=1e-5)
    assert not torch.allclose(said, tiny_guide.encode_text(["a photo of red sea."]), atol=1e-2)
