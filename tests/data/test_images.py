"""Pictures and masks on disk."""

import numpy as np
import pytest
from PIL import Image

from semples.data.images import colour_mask, heat_overlay, image_size, read_image, read_mask, voc_palette, write_mask
from semples.errors import SemplesError


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (30, 20, 3)
    assert image_size(tmp_path / "turned.jpg") == (20, 30)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    Image.new(mode, (5, 4)).save(tmp_path / ("image.jpg" if mode == "CMYK" else "image.png"))
    assert read_image(next(tmp_path.iterdir())).shape == (4, 5, 3)


def test_mask_round_trip_keeps_indices_and_colours(tmp_path):
    mask = np.array([[0, 1, 20], [255, 15, 0]], np.uint8)
    write_mask(tmp_path / "mask.png", mask, voc_palette())
    assert np.array_equal(read_mask(tmp_path / "mask.png"), mask)
    assert np.array_equal(read_image(tmp_path / "mask.png"), colour_mask(mask, voc_palette()))


def test_a_colour_picture_is_no_mask(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "mask.png")
    with pytest.raises(SemplesError, match="a mask of mode RGB"):
        read_mask(tmp_path / "mask.png")


def test_heat_is_red_where_the_score_is_high():
    overlay = heat_overlay(np.zeros((2, 2, 3), np.uint8), np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert overlay[0, 1, 0] > overlay[0, 1, 2]
    assert overlay[0, 0, 2] > overlay[0, 0, 0]
