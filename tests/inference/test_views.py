"""Multi-scale inference is the average of its parts."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from semples.inference.views import (
    as_batch,
    average_views,
    average_windows,
    stored_size,
    window_starts,
)
from semples.models.generators import build_generator


@torch.no_grad()
def test_average_equals_the_mean_of_its_parts():
    torch.manual_seed(0)
    generator = build_generator("conv_cam", 3, "").eval()
    images, size = torch.rand(2, 3, 48, 64), (12, 16)

    def cams(x: torch.Tensor) -> torch.Tensor:
        return generator(x).cams

    parts = []
    for sides in ((48, 64), (96, 128)):
        scaled = torch.nn.functional.interpolate(images, sides, mode="bicubic", antialias=True).clamp(0, 1)
        for view, undo in ((scaled, lambda m: m), (scaled.flip(-1), lambda m: m.flip(-1))):
            parts.append(torch.nn.functional.interpolate(undo(cams(view)), size, mode="bilinear"))
    found = average_views(cams, images, [1.0, 2.0], True, size)
    assert torch.allclose(found, torch.stack(parts).mean(0), atol=1e-6)


@pytest.mark.parametrize("sides", [(33, 50), (16, 48), (7, 100), (5, 3)])
def test_at_scale_1_a_network_sees_the_pixels_as_they_are(sides):
    image, shapes = torch.rand(2, 3, *sides), []
    copy = average_views(lambda x: shapes.append(x.shape[-2:]) or x, image, [1.0], True, sides)
    assert torch.allclose(copy, image, atol=1e-5)
    assert shapes == [torch.Size([side + -side % 16 for side in sides])] * 2


def test_the_border_is_mirrored_and_its_maps_are_left_out():
    image, seen = torch.arange(20.0).div(20).expand(1, 3, 16, 20), []
    average_views(lambda x: seen.append(x) or x, image, [1.0], False, (16, 20))
    assert torch.equal(seen[0][..., 20:], image[..., 7:19].flip(-1))
    ramp = average_views(lambda x: torch.arange(2.0).expand(1, 1, 1, 2), image, [1.0], False, (1, 4))
    # the patches of 16 pixels have their centres at 8 and 24, the four cells of 5 pixels at 2.5, 7.5, 12.5 and 17.5
    assert torch.allclose(ramp.flatten(), torch.tensor([0, 0, 4.5 / 16, 9.5 / 16]), atol=1e-6)


def test_the_published_way_cuts_the_remainder_and_stretches_the_maps():
    image, seen = torch.rand(1, 3, 35, 50), []
    stretched = average_views(lambda x: seen.append(x) or x[:, :1], image, [1.0], False, (35, 50), "cut")
    assert torch.equal(seen[0], image[..., :32, :48])
    whole = torch.nn.functional.interpolate(image[:, :1, :32, :48], (35, 50), mode="bilinear")
    assert torch.allclose(stretched, whole, atol=1e-6)


def test_other_scales_of_the_published_way_are_pillows():
    pixels, seen = torch.randint(0, 256, (1, 3, 32, 48), dtype=torch.uint8), []
    average_views(lambda x: seen.append(x) or x, pixels / 255, [2.0], False, (32, 48), "cut")
    large = Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).resize((96, 64), Image.Resampling.BICUBIC)
    assert torch.equal((255 * seen[0][0]).round().permute(1, 2, 0), torch.from_numpy(np.array(large)).float())


@torch.no_grad()
def test_a_batch_equals_its_images_one_by_one():
    generator = build_generator("vit_cam", 2, "deit_tiny_patch16_224").eval()
    images = torch.rand(2, 3, 40, 56)

    def cams(x: torch.Tensor) -> torch.Tensor:
        return generator(x).cams

    together = average_views(cams, images, [1.0], True, (10, 14))
    alone = torch.cat([average_views(cams, image[None], [1.0], True, (10, 14)) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)


def test_vit_maps_have_a_patch_grid_and_logits_are_their_mean():
    generator = build_generator("vit_cam", 5, "deit_tiny_patch16_224").eval()
    maps = generator(torch.rand(2, 3, 64, 96))
    assert maps.cams.shape == (2, 5, 4, 6)
    assert (maps.cams >= 0).all()
    assert maps.logits[0].shape == (2, 5)


def test_stored_size_rounds_up():
    assert stored_size(375, 500, 4) == (94, 125)


def test_as_batch_scales_to_unit_range():
    batch = as_batch([np.full((4, 6, 3), 255, np.uint8)] * 2, torch.device("cpu"), side=16)
    assert batch.shape == (2, 3, 16, 16)
    assert torch.allclose(batch, torch.ones_like(batch))


def test_windows_cover_an_image_and_end_at_its_border():
    assert window_starts(100, 100, 0.5) == [0]
    assert window_starts(60, 100, 0.5) == [0]
    assert window_starts(100, 40, 0.0) == [0, 30, 60]
    for length, side, overlap in [(101, 32, 0.33), (500, 321, 0.5), (33, 32, 0.9)]:
        starts = window_starts(length, side, overlap)
        assert (starts[0], starts[-1]) == (0, length - side)
        assert all(after - before <= max(1, side * (1 - overlap)) for before, after in pairwise(starts))


def test_windows_of_a_network_that_sees_single_pixels_change_nothing():
    image = torch.rand(2, 3, 50, 70)
    found = average_windows(lambda x: 2 * x, image, side=32, overlap=0.4)
    assert torch.allclose(found, 2 * image)


def test_windows_are_seen_one_by_one():
    image, sizes = torch.rand(1, 3, 40, 30), set()
    average_windows(lambda x: sizes.add(tuple(x.shape[-2:])) or x, image, side=32, overlap=0.5)
    assert sizes == {(32, 30)}
