"""The loss of the segmentation network: by hand, by order, and in the cases that make others NaN."""

import pytest
import torch
import torch.nn.functional as F

from semples.models.segment_task import SegmentTask, median_frequency_weights
from semples.models.segmenters import Segmenter


def network(classes: int = 2) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter("deeplabv3plus", "tu-resnet10t", classes, decoder_channels=16)


def batch(count: int = 2, side: int = 32) -> dict[str, torch.Tensor]:
    image, mask = torch.rand(count, 3, side, side), torch.zeros(count, side, side, dtype=torch.long)
    mask[:, 8:24, 8:24] = 1
    image[:, 0][mask == 1] = 1
    return {"image": image, "mask": mask}


def test_it_overfits_two_images():
    task, data = SegmentTask(network(classes=1)).train(), batch()
    optimizer = torch.optim.AdamW(task.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        task(data)["loss"].backward()
        optimizer.step()
    assert (task.learner(data["image"]).argmax(1) == data["mask"]).float().mean() > 0.9


def test_without_weights_it_is_the_mean_cross_entropy_of_what_is_not_void():
    task, data = SegmentTask(network()).eval(), batch()
    data["mask"][0, :4] = 255
    expected = F.cross_entropy(task.learner(data["image"]), data["mask"], ignore_index=255)
    assert task(data)["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_class_weights_and_confidence_are_a_weighted_mean():
    weights, data = torch.tensor([1.0, 3.0, 1.0]), batch()
    data["mask"][1, 0] = 255
    data["confidence"] = torch.rand(2, 32, 32)
    task = SegmentTask(network(), weights).eval()
    valid = data["mask"] != 255
    cost = F.cross_entropy(task.learner(data["image"]), data["mask"], ignore_index=255, reduction="none")[valid]
    weight = weights[data["mask"][valid]] * data["confidence"][valid]
    assert task(data)["loss"].item() == pytest.approx(((weight * cost).sum() / weight.sum()).item(), rel=1e-5)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("spoiled", ["mask", "confidence"])
def test_nothing_to_learn_from_costs_nothing(count, spoiled):
    task, data = SegmentTask(network(), torch.ones(3)).train(), batch(count)
    data[spoiled] = torch.full_like(data["mask"], 255) if spoiled == "mask" else torch.zeros(count, 32, 32)
    loss = task(data)["loss"]
    loss.backward()
    assert loss == 0
    assert all(p.grad.abs().max() == 0 for p in task.learner.parameters())


def test_a_batch_of_one_is_learned_with_its_mirror_image():
    task, one = SegmentTask(network()).train(), batch(1)
    one["mask"][0, :, :4] = 2
    two = {key: torch.cat([value, value.flip(-1)]) for key, value in one.items()}
    losses = []
    for data in (one, two):
        torch.manual_seed(0)  # dropout
        losses.append(task(data)["loss"].item())
    assert losses[0] == losses[1]


def test_rare_classes_weigh_more_and_absent_ones_one():
    assert median_frequency_weights(torch.tensor([800, 100, 0, 50])).tolist() == [0.125, 1.0, 1.0, 2.0]
