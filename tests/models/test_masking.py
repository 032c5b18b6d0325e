"""Masks and views by hand values: scaling, resizing, colours between, order."""

import pytest
import torch

from semples.models.masking import masked_view, masked_views, min_max, scaled_masks


def test_every_map_is_scaled_by_its_own_range():
    maps = torch.tensor([[[[-2.0, 2.0], [0.0, 1.0]], [[5.0, 5.0], [5.0, 5.0]]]])  # batch, classes, h, w
    scaled = min_max(maps, 1.0)
    assert torch.allclose(scaled[0, 0], torch.tensor([[0.0, 0.8], [0.4, 0.6]]))
    assert scaled[0, 1].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert min_max(maps, 0.0)[0, 0].max() == 1


def test_the_gradient_of_a_scaled_map_by_hand():
    maps = torch.tensor([[0.0, 1.0], [3.0, 2.0]], requires_grad=True)
    min_max(maps, 1.0)[0, 1].backward()  # (1 - low) / (high - low + 1), low 0, high 3
    assert torch.allclose(maps.grad, torch.tensor([[-3 / 16, 1 / 4], [-1 / 16, 0.0]]))


def test_masks_are_resized_bilinearly_before_they_are_scaled():
    maps = torch.tensor([[[0.0, 4.0], [0.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]]]).half()
    masks = scaled_masks(maps, 4, 1.0)
    assert masks.dtype == torch.float32
    assert masks.shape == (2, 1, 4, 4)
    assert masks[0, 0].tolist() == [pytest.approx([0.0, 0.2, 0.6, 0.8])] * 4
    assert masks[1].max() == 0


def test_views_are_linear_between_pixel_and_colour():
    pixels, fill = torch.full((1, 3, 1, 4), 2.0), torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1)
    mask = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 1, 4)
    view = masked_view(pixels, mask, fill)
    assert view[0, :, 0].tolist() == [[1.0, 1.25, 1.5, 2.0], [-1.0, -0.25, 0.5, 2.0], [0.0, 0.5, 1.0, 2.0]]
    front, back = masked_views(pixels, mask, fill)
    assert torch.equal(front, view[0])
    assert torch.equal(back, masked_view(pixels, 1 - mask, fill)[0])
    assert back[0, 0].tolist() == [2.0, 1.75, 1.5, 1.0]
