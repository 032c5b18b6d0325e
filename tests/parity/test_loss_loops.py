"""Every loss and its gradient against a loop over pairs, phrases and pixels, written from the formulas, in float64."""

import math

import pytest
import torch

from semples.models import losses
from semples.models.masking import masked_views, scaled_masks

TOLERANCE = 1e-6


@pytest.fixture
def cosines() -> dict[str, torch.Tensor]:
    """Cosines of seven pairs; some lie outside the range that the logarithm sees."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"foreground": (7,), "background": (7,), "text": (7,), "prompt": (7, 3)}
    drawn = {
        name: 1.4 * torch.rand(shape, generator=generator, dtype=torch.float64) - 0.2 for name, shape in shapes.items()
    }
    return {name: value.requires_grad_() for name, value in drawn.items()}


@pytest.fixture(params=["equal", "weighted"])
def weight(request) -> torch.Tensor | None:
    if request.param == "equal":
        return None
    weights = torch.tensor([0.5, 2.0, 1.0, 0.1, 3.0, 1.0, 0.7], dtype=torch.float64)
    return weights / weights.sum()


def log(value: float) -> float:
    return math.log(min(max(value, 1e-4), 0.9999))


def log_of_rest(value: float) -> float:
    return math.log(1 - min(max(value, 1e-4), 0.9999))


def mean(terms: list[float], weight: torch.Tensor | None) -> float:
    weights = [1.0] * len(terms) if weight is None else weight.tolist()
    return sum(w * term for w, term in zip(weights, terms, strict=True)) / sum(weights)


def slm(c: dict, i: int) -> float:
    return -log(c["foreground"][i]) - 2.4 * log_of_rest(c["background"][i])


def cpl_log(c: dict, i: int) -> float:
    return -log(c["background"][i]) + 0.02 * log(c["text"][i])


def cpl_repel(c: dict, i: int) -> float:
    return -log(c["background"][i]) - 0.02 * log_of_rest(c["text"][i])


def csr(c: dict, i: int) -> float:
    phrases = c["prompt"][i]
    return slm(c, i) - 0.05 * sum(log_of_rest(value) for value in phrases) / len(phrases)


def csr_scaled(c: dict, i: int) -> float:
    def similar(cosine: float) -> float:
        return 1 / (1 + math.exp(-5 * cosine))

    phrases = c["prompt"][i]
    pair = -math.log(similar(c["foreground"][i])) - 2.4 * math.log(1 - similar(c["background"][i]))
    return pair - 0.05 * sum(math.log(1 - similar(value)) for value in phrases) / len(phrases)


CASES = {
    "slm": (slm, lambda c, w: losses.segment_label_loss(c["foreground"], c["background"], 2.4, w)),
    "cpl log": (cpl_log, lambda c, w: losses.prompt_loss(c["background"], c["text"], 0.02, "log", w)),
    "cpl repel": (cpl_repel, lambda c, w: losses.prompt_loss(c["background"], c["text"], 0.02, "repel", w)),
    "csr": (csr, lambda c, w: losses.refinement_loss(c["foreground"], c["background"], c["prompt"], 2.4, 0.05, w)),
    "csr scaled": (
        csr_scaled,
        lambda c, w: losses.refinement_loss(c["foreground"], c["background"], c["prompt"], 2.4, 0.05, w, 5.0),
    ),
}


def differences(value, inputs: dict[str, list], step: float = 1e-6):
    """Central differences of `value(inputs)` in every number of nested lists."""

    def walk(numbers: list) -> list:
        found = []
        for place, number in enumerate(numbers):
            if isinstance(number, list):
                found.append(walk(number))
                continue
            ends = []
            for sign in (1, -1):
                numbers[place] = number + sign * step
                ends.append(value(inputs))
            numbers[place] = number
            found.append((ends[0] - ends[1]) / (2 * step))
        return found

    return {name: walk(numbers) for name, numbers in inputs.items()}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_equal_the_loop(name, cosines, weight):
    term, fast = CASES[name]

    def slow(inputs: dict) -> float:
        return mean([term(inputs, i) for i in range(7)], weight)

    plain = {key: value.tolist() for key, value in cosines.items()}
    loss = fast(cosines, weight)
    assert loss.item() == pytest.approx(slow(plain), abs=TOLERANCE)
    loss.backward()
    for key, expected in differences(slow, plain).items():
        found = cosines[key].grad
        found = torch.zeros_like(cosines[key]) if found is None else found
        assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=TOLERANCE)


def test_area_equals_a_loop_over_pixels(weight):
    mask = torch.rand(7, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    terms = [sum(sum(row) for row in pixels) / 12 for (pixels,) in mask.tolist()]
    found = losses.area(mask, weight)
    assert found.item() == pytest.approx(mean(terms, weight), abs=TOLERANCE)
    found.backward()
    weights = torch.ones(7, dtype=torch.float64) if weight is None else weight
    expected = (weights / weights.sum() / 12).view(7, 1, 1, 1).expand_as(mask)
    assert torch.allclose(mask.grad, expected, atol=TOLERANCE)


def test_balancing_weights_make_classes_count_alike():
    labels = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=torch.float32)
    weights = losses.balancing_weights(labels)
    pairs = [weights[k].item() for row in labels for k in range(3) if row[k]]
    assert 4 * weights[0].item() == pytest.approx(2 * weights[1].item())
    assert sum(pairs) / len(pairs) == pytest.approx(1)


@pytest.mark.parametrize("eps", [0.1, 1e-4])
def test_masks_and_views_equal_a_loop_over_pixels(eps):
    torch.manual_seed(0)
    maps, pixels = torch.rand(2, 4, 4, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    fill = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64).view(3, 1, 1)
    views = masked_views(pixels, scaled_masks(maps, 4, eps), fill)
    for i, one in enumerate(maps.tolist()):
        values = [value for row in one for value in row]
        low, high = min(values), max(values)
        for r in range(4):
            for c in range(4):
                share = (one[r][c] - low) / (high - low + eps)
                for channel in range(3):
                    seen, colour = pixels[i, channel, r, c].item(), fill[channel].item()
                    front, back = views[i, channel, r, c].item(), views[2 + i, channel, r, c].item()
                    assert front == pytest.approx(share * seen + (1 - share) * colour, abs=TOLERANCE)
                    assert back == pytest.approx((1 - share) * seen + share * colour, abs=TOLERANCE)


def test_classification_loss_equals_a_loop():
    from semples.models.generators import Maps
    from semples.models.tasks import _classification

    torch.manual_seed(0)
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]], dtype=torch.float64)
    logits = tuple(torch.randn(2, 3, requires_grad=True) for _ in range(3))
    expected = 0.0
    for values in logits:
        for x, y in zip(values.flatten().tolist(), labels.flatten().tolist(), strict=True):
            p = 1 / (1 + math.exp(-x))
            expected -= (y * math.log(p) + (1 - y) * math.log(1 - p)) / 6
    assert _classification(Maps(torch.zeros(0), logits), labels).item() == pytest.approx(expected, abs=TOLERANCE)
