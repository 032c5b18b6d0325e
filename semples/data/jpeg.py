"""JPEG files of training images: read as they are, and decoded by torchvision on the CPU or on a GPU."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from semples.data.images import is_plain_jpeg, read_image

log = logging.getLogger(__name__)


class Jpeg(NamedTuple):
    """A JPEG file and its bytes."""

    path: Path
    content: bytes


def read_jpeg(path: Path) -> Jpeg | None:
    """Return a JPEG file that torchvision decodes as `read_image` does, None for any other picture.

    Raises:
        SemplesError: The file is no picture.
    """
    return Jpeg(path, path.read_bytes()) if is_plain_jpeg(path) else None


def decode(files: Sequence[Jpeg], device: torch.device | str = "cpu") -> list[Tensor]:
    """Return the images, uint8 (3, height, width), on the device: RGB.

    On the CPU the pixels are those of `read_image`. On a CUDA device nvJPEG decodes all files together, and its
    pixels may differ in rounding. If it cannot decode one of the files, all come from `read_image`.

    Raises:
        SemplesError: A file is damaged.
    """
    if not files:
        return []
    content = [torch.frombuffer(bytearray(file.content), dtype=torch.uint8) for file in files]
    try:
        return decode_jpeg(content, mode=ImageReadMode.RGB, device=device)
    except RuntimeError as error:
        images = [torch.from_numpy(read_image(file.path)).permute(2, 0, 1).to(device) for file in files]
        log.warning("%d images decoded on the CPU, because torchvision could not: %s", len(files), error)
        return images
