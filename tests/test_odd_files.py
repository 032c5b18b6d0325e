"""Odd photographs: each works, or `semples data check` lists it."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semples.errors import SemplesError
from semples.images import read_image
from semples.manifest import Manifest, read_manifest
from semples.settings import Data, Run, Settings
from semples.stages import data

BAD = {"owl/empty.png", "owl/text.jpg", "owl/truncated.jpg", "owl/float.tif"}


def odd_files(root: Path) -> Path:
    """A folder a class: `owl` has files of every odd kind, `fox` one ordinary photograph."""
    owl = root / "owl"
    owl.mkdir(parents=True)
    grey = np.linspace(0, 65535, 200 * 100).reshape(100, 200).astype(np.uint16)
    plain = Image.effect_noise((200, 100), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    plain.save(owl / "turned.jpg", exif=exif)
    Image.fromarray(grey).save(owl / "16 bits.png")
    (owl / "16 bits colour.png").write_bytes(png_16_bits_rgb())
    Image.new("CMYK", (200, 100), (0, 255, 255, 0)).save(owl / "cmyk.jpg")
    Image.new("RGBA", (200, 100), (255, 0, 0, 0)).save(owl / "alpha.png")
    Image.new("LA", (200, 100), (0, 128)).save(owl / "grey alpha.png")
    Image.new("1", (200, 100), 1).save(owl / "bilevel.bmp")
    plain.save(owl / "grüße aus Köln.webp")
    plain.save(owl / "写真 1.TIFF")
    plain.save(owl / "SHOUTING.JPEG")
    plain.resize((1, 1)).save(owl / "1x1.png")
    Image.new("RGB", (8000, 6000), (10, 20, 30)).save(owl / "8000x6000.jpg", quality=30)
    (owl / "empty.png").write_bytes(b"")
    (owl / "text.jpg").write_text("not a picture", encoding="utf-8")
    (owl / "truncated.jpg").write_bytes((owl / "SHOUTING.JPEG").read_bytes()[:2000])
    Image.new("F", (20, 10), 0.5).save(owl / "float.tif")
    (root / "fox").mkdir()
    plain.save(root / "fox/ordinary.jpg")
    (root / "fox/link.jpg").symlink_to(owl / "turned.jpg")
    (root / "fox/broken link.jpg").symlink_to(root / "nowhere.jpg")
    return root


def png_16_bits_rgb() -> bytes:
    """A PNG of 2x1 pixels with 16 bits a channel, which Pillow reads but does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    line = b"\0" + struct.pack(">6H", 65535, 0, 0, 0, 0, 65535)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(line)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    return odd_files(tmp_path_factory.mktemp("odd files"))


def made(root: Path, out: Path, **settings) -> Manifest:
    data.run(Settings(data=Data(source="photos", root=str(root), **settings), run=Run(threads=1)), out)
    return read_manifest(out / "manifest.csv")


def test_a_bad_file_is_one_clear_error(odd, tmp_path):
    with pytest.raises(SemplesError, match=r"(no such file|unreadable)"):
        made(odd, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_good_ones_are_taken_when_the_bad_are_left_out(odd, tmp_path, capsys):
    found = made(odd, tmp_path / "out", unreadable="left_out", max_side=1024).table
    files = {path.relative_to(odd).as_posix() for path in odd.rglob("*") if path.suffix}
    bad = BAD | {"fox/broken link.jpg"}
    assert set(found["id"]) == {name.rpartition(".")[0] for name in files - bad}
    printed = capsys.readouterr().out
    assert all(f"left out: {odd / name}" in printed for name in bad)
    for row in found.itertuples():
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
def test_what_the_pixels_are(odd, name, shape, pixel):
    image = read_image(odd / "owl" / name)
    assert image.shape == shape
    assert image.dtype == np.uint8
    if pixel:
        assert np.abs(image[-1, -1].astype(int) - pixel).max() <= 3


def test_sixteen_bits_keep_their_shades(odd):
    image = read_image(odd / "owl/16 bits.png")[..., 0]
    assert len(np.unique(image)) == 256
    assert np.all(np.diff(image.ravel().astype(int)) >= 0)
