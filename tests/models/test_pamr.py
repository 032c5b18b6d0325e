"""Pixel-adaptive refinement: by hand, across an edge, and image by image."""

import pytest
import torch

from semples.models.pamr import pixel_adaptive


def test_on_a_plain_image_a_score_becomes_the_mean_of_its_neighbours():
    maps = torch.zeros(1, 1, 5, 5)
    maps[0, 0, 2, 2] = 1
    refined = pixel_adaptive(maps, torch.full((1, 3, 5, 5), 0.5), [1], 1, 0.1)
    expected = torch.zeros(5, 5)
    expected[1:4, 1:4] = 1 / 8
    expected[2, 2] = 0
    assert torch.allclose(refined[0, 0], expected, atol=1e-6)


def test_weights_by_hand():
    """Neighbours of the middle pixel: four of its own colour, four that differ; the deviation is that of the eight."""
    image, maps = torch.zeros(1, 3, 3, 3), torch.zeros(1, 1, 3, 3)
    image[0, :, 0], image[0, :, 1, 0] = 0.4, 0.4
    maps[0, 0, 0, 0] = 1
    colours = torch.tensor([0.4, 0.4, 0.4, 0.4, 0.0, 0.0, 0.0, 0.0])
    weights = (-colours / (colours.std() * 2)).softmax(dim=0)
    refined = pixel_adaptive(maps, image, [1], 1, 2.0)
    assert refined[0, 0, 1, 1].item() == pytest.approx(weights[0].item(), abs=1e-6)


def test_scores_follow_the_edge_of_the_picture():
    """The map reaches three columns over the edge; these fall, and the region itself stays full."""
    image, maps = torch.zeros(1, 3, 20, 30), torch.zeros(1, 1, 20, 30)
    image[..., 10:], maps[..., :13] = 0.9, 1
    refined = pixel_adaptive(maps, image, [1, 2, 4], 10, 0.1)[0, 0]
    blurred = pixel_adaptive(maps, torch.zeros_like(image), [1, 2, 4], 10, 0.1)[0, 0]
    assert refined[:, :10].min() > 0.99
    assert refined[:, 10:13].max() < 0.5
    assert blurred[:, :10].min() < 0.9


def test_a_batch_is_refined_image_by_image_and_constants_stay():
    generator = torch.Generator().manual_seed(1)
    images, maps = torch.rand(2, 3, 9, 13, generator=generator), torch.rand(2, 2, 9, 13, generator=generator)
    maps[:, 1] = 0.25
    both = pixel_adaptive(maps, images, [1, 3], 4, 0.1)
    for number in range(2):
        alone = pixel_adaptive(maps[number : number + 1], images[number : number + 1], [1, 3], 4, 0.1)
        assert torch.allclose(both[number : number + 1], alone, atol=1e-6)
    assert torch.allclose(both[:, 1], torch.tensor(0.25), atol=1e-5)
    assert both.min() >= maps.min()
    assert both.max() <= maps.max()
