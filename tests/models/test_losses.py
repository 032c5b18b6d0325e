"""Each loss against a value computed by hand, and by ordering: what is better must score lower."""

import math

import pytest
import torch

from semples.models import losses
from semples.models.losses import attract, prompt_loss, refinement_loss, repel, segment_label_loss

WEIGHT = torch.tensor([0.75, 0.25], dtype=torch.float64)


def cosines(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_attract_and_repel_by_hand():
    assert attract(cosines(0.5, 0.25)).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert repel(cosines(0.5, 0.75)).item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_cosines_are_clamped_before_the_log():
    for loss, far, near in ((attract, -1, 1), (repel, 1, -1)):
        assert loss(cosines(far)).item() == pytest.approx(-math.log(1e-4), rel=1e-9)
        assert loss(cosines(near)).item() == pytest.approx(-math.log(0.9999), rel=1e-9)


def test_gradients_by_hand_are_zero_where_the_cosine_is_clamped():
    for loss, expected in ((attract, [-1 / 2, -1 / 1, 0, 0]), (repel, [1 / 2, 1 / 3, 0, 0])):
        cosine = cosines(0.5, 0.25, -0.3, 0.99995).requires_grad_()
        loss(cosine).backward()
        assert cosine.grad.tolist() == pytest.approx(expected)
    for loss, signs in ((attract, (-1, -1)), (repel, (1, 1))):
        cosine = cosines(-0.2, 0.3).requires_grad_()
        loss(cosine, scale=5).backward()
        slopes = [sign * 5 / (1 + math.exp(-sign * 5 * value)) / 2 for sign, value in zip(signs, (-0.2, 0.3))]
        assert cosine.grad.tolist() == pytest.approx(slopes)


def test_weights_make_a_weighted_mean_over_pairs():
    two, four = math.log(2), math.log(4)
    assert attract(cosines(0.5, 0.25), WEIGHT).item() == pytest.approx((3 * two + four) / 4)
    assert repel(cosines(0.5, 0.75), WEIGHT).item() == pytest.approx((3 * two + four) / 4)
    phrases = cosines(0.5, 0.75, 0.5, 0.5).view(2, 2)
    assert repel(phrases, WEIGHT).item() == pytest.approx((3 * (two + four) / 2 + two) / 4)
    assert losses.area(torch.tensor([0.5, 0.0, 1.0, 1.0]).view(2, 1, 1, 2), WEIGHT.float()).item() == pytest.approx(
        0.4375
    )


def test_scale_and_weight_reach_every_term():
    sigmoid = [1 / (1 + math.exp(-5 * value)) for value in (0.5, 0.2, 0.1)]
    front, back, prompt = cosines(0.5, 0.9), cosines(0.2, 0.9), cosines(0.1, 0.9)
    only_first = torch.tensor([1.0, 0.0], dtype=torch.float64)
    expected = -math.log(sigmoid[0]) - 2 * math.log(1 - sigmoid[1])
    assert segment_label_loss(front, back, 2, only_first, 5.0).item() == pytest.approx(expected)
    expected -= 3 * math.log(1 - sigmoid[2])
    assert refinement_loss(front, back, prompt, 2, 3, only_first, 5.0).item() == pytest.approx(expected)
    learned = {"log": -math.log(0.5) + 2 * math.log(0.2), "repel": -math.log(0.5) - 2 * math.log(0.8)}
    for term, value in learned.items():
        assert prompt_loss(front, back, 2, term, only_first).item() == pytest.approx(value)


def test_with_a_scale_the_similarity_is_a_sigmoid():
    cosine = cosines(-0.2, 0.3).requires_grad_()
    similar = [1 / (1 + math.exp(-5 * value)) for value in (-0.2, 0.3)]
    assert attract(cosine, scale=5).item() == pytest.approx(-sum(math.log(s) for s in similar) / 2)
    assert repel(cosine, scale=5).item() == pytest.approx(-sum(math.log(1 - s) for s in similar) / 2)
    attract(cosine, scale=5).backward()
    assert cosine.grad[0] < cosine.grad[1] < 0, "the negative cosine is pulled hardest"


def test_segment_label_loss_by_hand():
    found = segment_label_loss(cosines(0.5), cosines(0.2), w_bg=2.4)
    assert found.item() == pytest.approx(-math.log(0.5) - 2.4 * math.log(0.8))


def test_prompt_loss_by_hand():
    background, text = cosines(0.5), cosines(0.3)
    assert prompt_loss(background, text, 0.02, "log").item() == pytest.approx(-math.log(0.5) + 0.02 * math.log(0.3))
    assert prompt_loss(background, text, 0.02, "repel").item() == pytest.approx(-math.log(0.5) - 0.02 * math.log(0.7))


def test_refinement_loss_by_hand_with_two_phrases():
    found = refinement_loss(cosines(0.5), cosines(0.2), cosines(0.1, 0.3).view(1, 2), w_bg=2, w_prompt=3)
    prompt = (-math.log(0.9) - math.log(0.7)) / 2
    assert found.item() == pytest.approx(-math.log(0.5) - 2 * math.log(0.8) + 3 * prompt)


def test_refinement_without_prompt_weight_is_segment_label_loss():
    front, back = cosines(0.5, 0.6), cosines(0.2, 0.1)
    assert torch.equal(refinement_loss(front, back, back, 2.4, 0.0), segment_label_loss(front, back, 2.4))


@pytest.mark.parametrize("text_term", ["log", "repel"])
def test_better_scores_lower(text_term):
    assert segment_label_loss(cosines(0.6), cosines(0.2), 1) < segment_label_loss(cosines(0.5), cosines(0.2), 1)
    assert segment_label_loss(cosines(0.5), cosines(0.1), 1) < segment_label_loss(cosines(0.5), cosines(0.2), 1)
    assert prompt_loss(cosines(0.6), cosines(0.3), 1, text_term) < prompt_loss(cosines(0.5), cosines(0.3), 1, text_term)
    assert prompt_loss(cosines(0.5), cosines(0.2), 1, text_term) < prompt_loss(cosines(0.5), cosines(0.3), 1, text_term)
    low, high = cosines(0.1), cosines(0.3)
    assert refinement_loss(high, low, low, 1, 1) < refinement_loss(high, low, high, 1, 1)


def test_balancing_weights_by_hand():
    labels = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert losses.balancing_weights(labels).tolist() == [0.75, 1.5, 1.5]  # 3 labels over 2 classes that occur
