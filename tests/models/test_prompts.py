"""The read-out of prompts in words."""

import torch

from semples.models.prompts import PromptBank, word_cosines


def test_cosine_and_lift_by_hand():
    prompts = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    words = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    cosine, lift = word_cosines(prompts, words)
    assert torch.allclose(cosine, torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    assert torch.allclose(lift, torch.tensor([[0.2, -0.4], [-0.2, 0.4]]))


def test_bank_starts_uniform_between_zero_and_one():
    torch.manual_seed(0)
    vectors = PromptBank(20, 30, 64).vectors
    assert vectors.shape == (20, 30, 64)
    assert 0 <= vectors.min() < 0.01
    assert 0.99 < vectors.max() < 1
    assert abs(vectors.mean() - 0.5) < 0.01
