"""Read and write images and masks, with clear errors, and draw overlays."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from semples.errors import SemplesError
from semples.files import atomic_path

IGNORE = 255  # void in a mask
ORIENTATION = 0x0112  # EXIF tag
BROKEN = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)  # what Pillow raises


def read_image(path: Path) -> np.ndarray:
    """Return RGB uint8 (height, width, 3): EXIF rotation applied, 16 bits scaled to 8, transparent pixels white."""
    try:
        with Image.open(path) as image:
            return _as_rgb(ImageOps.exif_transpose(image))
    except BROKEN as error:
        raise _unreadable(path, error) from error


def _as_rgb(image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        raise ValueError("floating-point pixels of unknown range")
    if image.mode.startswith("I"):  # 16 bits per pixel
        grey = (np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in pixels with EXIF rotation applied, from the file's header alone."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(ORIENTATION, 1) >= 5 else (width, height)
    except BROKEN as error:
        raise _unreadable(path, error) from error


def require_size(mask: Path, size: tuple[int, int]) -> None:
    """Raise SemplesError unless the mask's header has the (width, height) of its image."""
    if (mask_size := image_size(mask)) != tuple(size):
        raise _other_size(mask, mask_size, size)


def read_mask(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Return the class indices of a palette or grey PNG, uint8 (height, width): 0 background, 255 void.

    Raises:
        SemplesError: The file is unreadable, or has another size than `shape`, the (height, width) of its image.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L"):
                expected = "palette (P) or grey (L) class indices"
                raise SemplesError(path, f"a mask of mode {image.mode}", expected, "save it as palette PNG")
            mask = np.array(image)
    except BROKEN as error:
        raise _unreadable(path, error) from error
    if shape is not None and mask.shape != tuple(shape):
        raise _other_size(path, mask.shape[::-1], shape[::-1])
    return mask


def write_mask(path: Path, mask: np.ndarray, palette: np.ndarray) -> None:
    """Write class indices uint8 (height, width) as palette PNG; `palette` is RGB uint8 (256, 3)."""
    image = Image.fromarray(mask.astype(np.uint8), mode="P")
    image.putpalette(palette.astype(np.uint8).tobytes())
    image.save(path, format="PNG", optimize=False)


def shrink(image: np.ndarray, mask: np.ndarray | None, longest: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Resize `image` uint8 (height, width, 3) and `mask` uint8 (height, width) by the longer side."""
    scale = longest / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    small = None if mask is None else cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), small


def write_image(path: Path, image: np.ndarray) -> None:
    """Write RGB uint8 (height, width, 3) as PNG, whole or not at all."""
    with atomic_path(path) as partial:
        Image.fromarray(image).save(partial, format="PNG")


def voc_palette() -> np.ndarray:
    """Return the PASCAL VOC colour map, RGB uint8 (256, 3): bit 7 - i of channel c is bit 3 i + c of the index."""
    index = np.arange(256)
    channels = [sum(((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def class_colours(count: int) -> tuple[str, ...]:
    """Return "#rrggbb" for `count` classes: the PASCAL VOC colours from index 1, repeated after 254."""
    palette = voc_palette()
    return tuple("#{:02x}{:02x}{:02x}".format(*palette[index % 254 + 1]) for index in range(count))


def colour_mask(mask: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return class indices uint8 (height, width) in the RGB colours of `palette`: uint8 (height, width, 3)."""
    return palette[mask]


def heat_overlay(image: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Blend `image` uint8 (height, width, 3) with the heat colours of `score`, float (height, width) in [0, 1]."""
    heat = cv2.applyColorMap((np.clip(score, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return (0.5 * image + 0.5 * heat).astype(np.uint8)


def resize_map(score: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize float maps (classes, h, w) bilinearly to (classes, height, width)."""
    return np.stack([cv2.resize(s, (width, height), interpolation=cv2.INTER_LINEAR) for s in score])


def _unreadable(path: Path, error: Exception) -> SemplesError:
    problem = "no such file" if isinstance(error, FileNotFoundError) else f"unreadable: {error}"
    return SemplesError(path, problem, "an image that Pillow can read", "restore the file, or remove its entry")


def _other_size(mask: Path, mask_size: tuple[int, ...], size: tuple[int, ...]) -> SemplesError:
    expected = "{}x{} pixels, the size of its image".format(*size)
    return SemplesError(mask, "{}x{} pixels".format(*mask_size), expected, "make the mask the size of its image")
