"""Parts of a batch: whole pairs, and weights that add up over parts and ranks."""

import pytest
import torch

from semples.data.training_images import present_pairs
from semples.models import parts
from semples.models.parts import labelled_parts, mean_weights, padded_size, split

LABELS = torch.tensor([[1, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1]], dtype=torch.float32)
CLASS_WEIGHTS = torch.tensor([1.0, 3.0, 0.5])


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    image, klass = present_pairs(LABELS)
    number = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    return {"image": number, "labels": LABELS, "pair_image": image, "pair_class": klass, "pair_maps": number[image, 0]}


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_every_part_has_its_images_and_their_pairs(batch, count):
    made = labelled_parts(batch, count)
    sizes = [len(part["image"]) for part in made]
    assert len(sizes) == min(count, 5)
    assert max(sizes) - min(sizes) <= 1
    assert torch.equal(torch.cat([part["image"] for part in made]), batch["image"])
    for part in made:
        image, klass = present_pairs(part["labels"])
        assert torch.equal(part["pair_image"], image)
        assert torch.equal(part["pair_class"], klass)
        assert torch.equal(part["pair_maps"], part["image"][image, 0])


@pytest.mark.parametrize("count", [1, 3])
def test_weights_add_up_to_one_over_the_parts(batch, count):
    made = labelled_parts(batch, count, CLASS_WEIGHTS)
    weights = {name: torch.cat([part[name] for part in made]) for name in ("image_weight", "pair_share", "pair_weight")}
    assert torch.allclose(weights["image_weight"], torch.full((5,), 1 / 5))
    assert torch.allclose(weights["pair_share"], torch.full((8,), 1 / 8))
    by_class = CLASS_WEIGHTS[batch["pair_class"]]
    assert torch.allclose(weights["pair_weight"], by_class / by_class.sum())


def test_few_numbers_of_pairs_occur():
    sizes = [padded_size(pairs) for pairs in range(1, 129)]
    assert all(pairs <= size < 1.25 * pairs + 1 for pairs, size in enumerate(sizes, 1))
    assert sorted(set(sizes)) == [*range(1, 9), 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128]
    assert padded_size(0) == 0


@pytest.mark.parametrize("count", [1, 3])
def test_padding_comes_last_and_has_no_weight(batch, count):
    batch["pair_class"] = torch.cat([batch["pair_class"], torch.tensor([1])])  # nine pairs
    batch["pair_image"] = torch.cat([batch["pair_image"], torch.tensor([4])])
    batch["pair_maps"] = torch.cat([batch["pair_maps"], batch["pair_maps"][:1]])
    plain, padded = (labelled_parts(batch, count, CLASS_WEIGHTS, pad) for pad in (False, True))
    for one, other in zip(plain, padded, strict=True):
        pairs = len(one["pair_image"])
        assert len(other["pair_maps"]) == len(other["pair_weight"]) == padded_size(pairs)
        assert all(torch.equal(value, other[name][: len(value)]) for name, value in one.items())
        assert all(not other[name][pairs:].any() for name in ("pair_share", "pair_weight"))
    assert sum(len(part["pair_image"]) for part in padded) == (10 if count == 1 else 9)


def test_a_batch_without_pairs_is_split_too():
    made = split({"image": torch.zeros(3, 3, 2, 2), "mask": torch.arange(3)}, 2)
    assert [part["mask"].tolist() for part in made] == [[0, 1], [2]]


@pytest.fixture
def two_ranks(monkeypatch) -> dict[str, float]:
    """Pretend that another process adds `total["other"]` to every sum over the ranks."""
    total = {"other": 0.0}
    for name, value in (("is_available", True), ("is_initialized", True), ("get_world_size", 2)):
        monkeypatch.setattr(parts.dist, name, lambda value=value: value)
    monkeypatch.setattr(parts.dist, "all_reduce", lambda count: count.add_(total["other"]))
    return total


def test_the_mean_of_the_sums_of_two_ranks_is_the_mean_over_all_values(two_ranks):
    sums = []
    for own, other in (([1.0, 2.0, 3.0], 1), ([5.0], 3)):
        two_ranks["other"] = other
        sums.append((torch.tensor(own) * mean_weights(torch.ones(len(own)))).sum().item())
    assert sums == [3.0, 2.5]
    assert sum(sums) / 2 == 11 / 4


def test_padding_leaves_the_share_of_a_rank_as_it_is(two_ranks, batch):
    two_ranks["other"] = 24.0
    plain, padded = (labelled_parts(batch, 1, pad=pad)[0] for pad in (False, True))
    assert plain["pair_share"].sum() == padded["pair_share"].sum() == 0.5


def test_no_weight_is_no_division_by_zero():
    assert mean_weights(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("missing", ["is_available", "is_initialized"])
def test_one_process_is_its_own_mean(two_ranks, monkeypatch, missing):
    monkeypatch.setattr(parts.dist, missing, lambda: False)
    two_ranks["other"] = 100.0
    assert mean_weights(torch.tensor([3.0, 1.0])).tolist() == [0.75, 0.25]
