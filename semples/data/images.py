"""Read and write images and masks, with clear errors, and draw overlays."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngInfo

from semples.errors import SemplesError
from semples.files import atomic_path

IGNORE = 255  # void in a mask
WHITE, DARK = 65535, 16384  # files of 16 bits that stay below DARK may hold 10, 12 or 14 bits
ORIENTATION = 0x0112  # EXIF tag


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile]:
    """Open a picture; turn errors of any kind, which Pillow raises on damaged files, into SemplesError."""
    try:
        with Image.open(path) as image:
            yield image
    except SemplesError:
        raise
    except Exception as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else f"unreadable: {error}"
        remedy = "restore the file, or remove its entry"
        raise SemplesError(path, problem, "an image that Pillow can read", remedy) from error


def read_image(path: Path, white: float | None = None) -> np.ndarray:
    """Return RGB uint8 (height, width, 3) with orientation applied and transparent pixels white.

    Args:
        white: Value of white in files of more than 8 bits a channel. None: 65535; floats and dark files are refused.
    """
    with _opened(path) as image:
        deep, mode = _is_deep(image), image.mode
        if deep and white and mode == "RGB":  # of which Pillow reads the upper 8 bits
            values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
            return _to_8_bits(np.asarray(values)[..., ::-1], white)
        ImageOps.exif_transpose(image, in_place=True)
        if mode[0] not in "IF":
            rgb = _as_rgb(image)
            if deep:
                _require_bright(path, 257 * int(rgb.max()))
            return rgb
        grey = np.repeat(np.asarray(image)[..., None], 3, axis=2)
        if white is None:
            _require_bright(path, grey.max() if mode != "F" else np.inf)
        return _to_8_bits(grey, white or WHITE)


def is_plain_jpeg(path: Path) -> bool:
    """Return whether a file is a JPEG, grey or RGB, whose EXIF data say that it is upright."""
    with _opened(path) as image:
        return image.format == "JPEG" and image.mode in ("L", "RGB") and image.getexif().get(ORIENTATION, 1) == 1


def is_deep(path: Path) -> bool:
    """Return whether a picture has more than 8 bits a channel."""
    with _opened(path) as image:
        return _is_deep(image)


def _is_deep(image: ImageFile) -> bool:
    return image.mode[0] in "IF" or ";16" in str(image.tile[:1])


def _require_bright(path: Path, peak: float) -> None:
    """Raise SemplesError unless `peak`, the largest value of a file of 16 bits, says that white is 65535."""
    if peak and not DARK <= peak <= WHITE:
        problem = "floating-point pixels" if peak == np.inf else f"16 or more bits with values up to {peak}"
        remedy = "set `data.white` to the value of white, such as 1.0, 255, 1023, 4095 or 65535, or save it with 8 bits"
        raise SemplesError(path, f"{problem}: white is not known", "8 bits, or values up to 65535", remedy)


def _to_8_bits(values: np.ndarray, white: float) -> np.ndarray:
    return (np.nan_to_num(values.astype(float)).clip(0, white) * 255 // white).astype(np.uint8)


def _as_rgb(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def image_size(path: Path, decode: bool = False, white: float | None = None) -> tuple[int, int]:
    """Return (width, height) in pixels with orientation applied, from the header alone, or after decoding the file."""
    with _opened(path) as image:
        orientation = image.getexif().get(ORIENTATION, 1)
        turned = orientation >= 5 and image.format != "TIFF"  # Pillow turns TIFF itself
        size, plain = image.size[::-1] if turned else image.size, image.mode in ("L", "RGB") and not _is_deep(image)
        if decode and plain and orientation == 1:
            image.load()  # all that `read_image` does with it that can fail
            return size
    return read_image(path, white).shape[1::-1] if decode else size


def require_size(mask: Path, size: tuple[int, int]) -> None:
    """Raise SemplesError unless the mask's header has the (width, height) of its image."""
    if (mask_size := image_size(mask)) != tuple(size):
        expected = "{}x{} pixels, the size of its image".format(*size)
        raise SemplesError(mask, "{}x{} pixels".format(*mask_size), expected, "make the mask the size of its image")


@contextmanager
def _opened_mask(path: Path) -> Iterator[ImageFile]:
    with _opened(path) as image:
        if image.mode not in ("P", "L") or image.format == "JPEG":
            problem = f"a mask of mode {image.mode}" if image.mode not in ("P", "L") else "a mask as lossy JPEG"
            remedy = "save it as palette PNG, or say in `data.masks` what its values mean"
            raise SemplesError(path, problem, "palette (P) or grey (L) class indices", remedy)
        ImageOps.exif_transpose(image, in_place=True)
        yield image


def read_mask(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Return the class indices of a palette or grey PNG, uint8 (height, width): 0 background, 255 void.

    Raises:
        SemplesError: The file is unreadable, or has another size than `shape`, the (height, width) of its image.
    """
    with _opened_mask(path) as image:
        mask = np.array(image)
    if shape is not None and mask.shape != tuple(shape):
        require_size(path, shape[::-1])
    return mask


def mask_colours(path: Path, size: tuple[int, int]) -> dict[int, str]:
    """Return the indices in a mask of (width, height) with their colours in its palette, "#rrggbb", or "" if grey."""
    with _opened_mask(path) as image:
        palette, counts, mask_size = bytes(image.getpalette() or ()), image.histogram(), image.size
    if mask_size != size:
        require_size(path, size)
    colours = {index: palette[3 * index : 3 * index + 3].hex() for index, count in enumerate(counts) if count}
    return {index: colour and f"#{colour}" for index, colour in colours.items()}


def write_mask(path: Path, mask: np.ndarray, palette: np.ndarray, made_from: str = "") -> None:
    """Write class indices uint8 (height, width) as palette PNG; `palette` is RGB uint8 (256, 3).

    Args:
        made_from: Digest of the inputs, which `finished_mask` compares.
    """
    image = Image.fromarray(mask.astype(np.uint8), mode="P")
    image.putpalette(palette.astype(np.uint8).tobytes())
    notes = PngInfo()
    if made_from:
        notes.add_text("semples", made_from)
    image.save(path, format="PNG", optimize=False, pnginfo=notes)


def finished_mask(path: Path, made_from: str) -> np.ndarray | None:
    """Return the class indices of a mask that was written with this `made_from`; None if there is none."""
    with suppress(SemplesError), _opened(path) as image:
        if image.info.get("semples") == made_from:
            return np.array(image)
    return None


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
