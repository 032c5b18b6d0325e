"""Photographs of every odd kind."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def write_odd_files(root: Path) -> Path:
    """Write one folder per class: `owl` has files of every odd kind, `fox` one ordinary photograph."""
    owl = root / "owl"
    owl.mkdir(parents=True)
    grey = np.linspace(0, 65535, 200 * 100).reshape(100, 200).astype(np.uint16)
    plain = Image.effect_noise((200, 100), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    plain.save(owl / "turned.jpg", exif=exif)
    Image.fromarray(grey).save(owl / "16 bits.png")
    (owl / "16 bits colour.png").write_bytes(_png_16_bits_rgb())
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


def _png_16_bits_rgb() -> bytes:
    """A PNG of 2x1 pixels with 16 bits a channel, which Pillow reads but does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    line = b"\0" + struct.pack(">6H", 65535, 0, 0, 0, 0, 65535)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(line)) + chunk(b"IEND", b"")
