"""The read-out of prompts in words."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import semples
from semples.models.prompts import EmbeddingBank, PromptBank, word_cosines


def test_cosine_and_lift_by_hand():
    prompts = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    words = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    cosine, lift = word_cosines(prompts, words)
    assert torch.allclose(cosine, torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    assert torch.allclose(lift, torch.tensor([[0.2, -0.4], [-0.2, 0.4]]))
    assert torch.equal(lift, cosine - cosine.sum(0) / 2)


def test_bank_starts_uniform_between_zero_and_one():
    torch.manual_seed(0)
    vectors = PromptBank(20, 30, 64).vectors
    assert vectors.shape == (20, 30, 64)
    assert 0 <= vectors.min() < 0.01
    assert 0.99 < vectors.max() < 1
    assert abs(vectors.mean() - 0.5) < 0.01


def test_a_bank_is_drawn_by_seed_and_learns():
    torch.manual_seed(3)
    expected = torch.rand(2, 3, 4)
    torch.manual_seed(3)
    vectors = PromptBank(2, 3, 4).vectors
    assert torch.equal(vectors, expected)
    assert isinstance(vectors, torch.nn.Parameter)
    assert vectors.requires_grad


def test_a_bank_encodes_its_vectors_with_the_final_period_asked_for(tiny_guide):
    bank = PromptBank(3, 4, tiny_guide.width)
    for period in ("end_of_word", "bare"):
        encoded = bank.encode(tiny_guide, period)
        assert encoded.shape == (3, 16)
        assert torch.equal(encoded, tiny_guide.encode_prompts(bank.vectors, period))
        assert torch.allclose(encoded.norm(dim=1), torch.ones(3))
    assert not torch.equal(bank.encode(tiny_guide, "bare"), bank.encode(tiny_guide, "end_of_word"))
    bank.encode(tiny_guide, "bare").sum().backward()
    assert bank.vectors.grad.abs().amax(dim=(1, 2)).min() > 0


def test_bank_starts_as_words_repeated_to_the_length(tiny_guide):
    words = tiny_guide.token_vectors("deep blue sea")
    vectors = PromptBank(2, 5, tiny_guide.width, words).vectors
    assert vectors.shape == (2, 5, tiny_guide.width)
    assert all(torch.equal(prompt, torch.cat([words, words[:2]])) for prompt in vectors)
    assert torch.equal(PromptBank(1, 2, tiny_guide.width, words, shared=True).vectors[0], words[:2])


def test_the_shipped_nouns_are_many_and_distinct():
    words = (Path(semples.__file__).parent / "config" / "words.txt").read_text(encoding="utf-8").splitlines()
    assert len(words) >= 1500
    assert len(set(words)) == len(words)
    assert all(word == word.strip().lower() for word in words)


def test_a_shared_bank_has_one_prompt_for_all_classes(tiny_guide):
    bank = PromptBank(3, 4, tiny_guide.width, shared=True)
    encoded = bank.encode(tiny_guide, "end_of_word")
    assert bank.vectors.shape[0] == 1
    assert encoded.shape[0] == 3
    assert encoded.is_contiguous()  # safetensors takes no other
    assert torch.equal(encoded[0], encoded[2])


def test_an_embedding_of_a_class_learns_the_embedding_of_its_backgrounds(tiny_guide):
    """Without the text encoder the loss has its minimum where the prompt is the background."""
    bank, backgrounds = EmbeddingBank(3, 8), F.normalize(torch.randn(3, 8), dim=-1)
    optimizer = torch.optim.SGD(bank.parameters(), lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        (1 - (bank.encode(tiny_guide, "end_of_word") * backgrounds).sum(-1)).sum().backward()
        optimizer.step()
    learned = bank.encode(tiny_guide, "end_of_word")
    assert (learned * backgrounds).sum(-1).min() > 0.999
    assert learned.norm(dim=-1).tolist() == pytest.approx([1, 1, 1])


def test_a_shared_embedding_is_that_of_all_classes(tiny_guide):
    bank = EmbeddingBank(3, 8, shared=True)
    encoded = bank.encode(tiny_guide, "end_of_word")
    assert bank.vectors.shape == (1, 8)
    assert encoded.is_contiguous()
    assert torch.equal(encoded, encoded[:1].expand(3, -1))
