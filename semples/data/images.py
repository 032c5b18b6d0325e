"""Pictures and masks on disk: reading with clear errors, palette PNGs, overlays."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from semples.errors import SemplesError
from semples.files import atomic_path

IGNORE = 255
ORIENTATION = 0x0112  # EXIF tag
BROKEN = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)  # what Pillow raises


def read_image(path: Path) -> np.ndarray:
    """RGB uint8 (height, width, 3), EXIF rotation applied; 16 bits are scaled to 8, what is transparent is white."""
    try:
        with Image.open(path) as image:
            return _as_rgb(ImageOps.exif_transpose(image))
    except BROKEN as error:
        raise _unreadable(path, error) from error


def _as_rgb(image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose white nobody knows")
    if image.mode.startswith("I"):  # 16 bits a pixel
        grey = (np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels, EXIF rotation applied, from the file's header alone."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(ORIENTATION, 1) >= 5 else (width, height)
    except BROKEN as error:
        raise _unreadable(path, error) from error


def require_size(mask: Path, size: tuple[int, int]) -> None:
    """An error unless the mask has the (width, height) of its image, by the file's header."""
    if (found := image_size(mask)) != tuple(size):
        raise _other_size(mask, found, size)


def read_mask(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Class indices uint8 (height, width) of a palette or grey PNG: 0 background, 255 void.

    `shape` is the (height, width) its image has; another size is an error.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L"):
                raise SemplesError(
                    path,
                    f"a mask of mode {image.mode}",
                    "palette (P) or grey (L) class indices",
                    "save it as palette PNG",
                )
            mask = np.array(image)
    except BROKEN as error:
        raise _unreadable(path, error) from error
    if shape is not None and mask.shape != tuple(shape):
        raise _other_size(path, mask.shape[::-1], shape[::-1])
    return mask


def write_mask(path: Path, mask: np.ndarray, palette: np.ndarray) -> None:
    """Write class indices uint8 (height, width) as a palette PNG; `palette` is uint8 (256, 3) RGB."""
    image = Image.fromarray(mask.astype(np.uint8), mode="P")
    image.putpalette(palette.astype(np.uint8).tobytes())
    image.save(path, format="PNG", optimize=False)


def shrink(image: np.ndarray, mask: np.ndarray | None, longest: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Copies of uint8 `image` (height, width, 3) and `mask` (height, width) whose longer side is `longest` pixels."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = None if mask is None else cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), small


def write_image(path: Path, image: np.ndarray) -> None:
    """Write RGB uint8 (height, width, 3) as PNG, whole or not at all."""
    with atomic_path(path) as partial:
        Image.fromarray(image).save(partial, format="PNG")


def voc_palette() -> np.ndarray:
    """The PASCAL VOC colour map, uint8 (256, 3): bit i of a channel is bit 3i + channel of the index, mirrored."""
    index = np.arange(256)
    channels = [sum(((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def class_colours(count: int) -> tuple[str, ...]:
    """Colours "#rrggbb" of `count` classes: those of the PASCAL VOC colour map from 1, over again after 254."""
    palette = voc_palette()
    return tuple("#{:02x}{:02x}{:02x}".format(*palette[place % 254 + 1]) for place in range(count))


def colour_mask(mask: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """RGB uint8 (height, width, 3) picture of class indices; void is drawn in its palette colour."""
    return palette[mask]


def heat_overlay(image: np.ndarray, score: np.ndarray) -> np.ndarray:
    """`image` uint8 (height, width, 3) under the heat colours of `score`, float (height, width) in [0, 1]."""
    heat = cv2.applyColorMap((np.clip(score, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return (0.5 * image + 0.5 * heat).astype(np.uint8)


def resize_map(score: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear resize of float maps (classes, h, w) to (classes, height, width)."""
    return np.stack([cv2.resize(s, (width, height), interpolation=cv2.INTER_LINEAR) for s in score])


def _unreadable(path: Path, error: Exception) -> SemplesError:
    found = "no such file" if isinstance(error, FileNotFoundError) else f"unreadable: {error}"
    return SemplesError(
        path, found, "an image that Pillow can read", "restore the file, or take it out of the data set"
    )


def _other_size(mask: Path, found: tuple[int, ...], size: tuple[int, ...]) -> SemplesError:
    return SemplesError(
        mask,
        "{}x{} pixels".format(*found),
        "{}x{} pixels, the size of its image".format(*size),
        "make the mask the size of its image",
    )
