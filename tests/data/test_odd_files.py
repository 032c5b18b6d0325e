"""Odd photographs: each works, or `semples data check` lists it."""

from pathlib import Path

import numpy as np
import pytest

from semples.config.settings import Data, Run, Settings
from semples.data.images import read_image
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.stages import data

pytestmark = pytest.mark.fault("bad files tried")

BAD = {"owl/empty.png", "owl/text.jpg", "owl/truncated.jpg", "owl/float.tif"}


def made(root: Path, out: Path, **settings) -> Manifest:
    data.run(Settings(data=Data(source="photos", root=str(root), **settings), run=Run(threads=1)), out)
    return read_manifest(out / "manifest.csv")


def test_a_bad_file_is_one_clear_error(odd_files, tmp_path):
    with pytest.raises(SemplesError, match=r"(no such file|unreadable)"):
        made(odd_files, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_good_ones_are_taken_when_the_bad_are_left_out(odd_files, tmp_path, capsys):
    images = made(odd_files, tmp_path / "out", unreadable="left_out", max_side=1024).table
    files = {path.relative_to(odd_files).as_posix() for path in odd_files.rglob("*") if path.suffix}
    bad = BAD | {"fox/broken link.jpg"}
    assert set(images["id"]) == {name.rpartition(".")[0] for name in files - bad}
    printed = capsys.readouterr().out
    assert all(f"left out: {odd_files / name}" in printed for name in bad)
    for row in images.itertuples():
        assert read_image(row.image).shape == (row.height, row.width, 3)


@pytest.mark.parametrize(
    ("name", "shape", "pixel"),
    [
        ("turned.jpg", (200, 100, 3), None),
        ("16 bits.png", (100, 200, 3), (255, 255, 255)),
        ("16 bits colour.png", (1, 2, 3), (0, 0, 255)),
        ("cmyk.jpg", (100, 200, 3), (255, 0, 0)),
        ("alpha.png", (100, 200, 3), (255, 255, 255)),
        ("grey alpha.png", (100, 200, 3), (127, 127, 127)),
        ("bilevel.bmp", (100, 200, 3), (255, 255, 255)),
        ("grüße aus Köln.webp", (100, 200, 3), None),
        ("写真 1.TIFF", (100, 200, 3), None),
        ("1x1.png", (1, 1, 3), None),
        ("8000x6000.jpg", (6000, 8000, 3), (10, 20, 30)),
    ],
)
def test_what_the_pixels_are(odd_files, name, shape, pixel):
    image = read_image(odd_files / "owl" / name)
    assert image.shape == shape
    assert image.dtype == np.uint8
    if pixel:
        assert np.abs(image[-1, -1].astype(int) - pixel).max() <= 3


def test_sixteen_bits_keep_their_shades(odd_files):
    image = read_image(odd_files / "owl/16 bits.png")[..., 0]
    assert len(np.unique(image)) == 256
    assert np.all(np.diff(image.ravel().astype(int)) >= 0)
