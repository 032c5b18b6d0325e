"""Decode training images each time, or once into memory, or once into a file that all processes map."""

import logging
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from semples.data.images import read_image
from semples.data.jpeg import Jpeg, decode, read_jpeg
from semples.data.manifest import Manifest
from semples.errors import SemplesError
from semples.files import digest

log = logging.getLogger(__name__)


def decoder(
    images: Manifest, memory_gb: float, folder: Path | None, encoded: bool = False
) -> Callable[[int], np.ndarray | Jpeg]:
    """Return the function that gives image `index`, RGB uint8 (height, width, 3).

    Args:
        memory_gb: Every process that decodes keeps the images in memory if they need at most this many GB.
        folder: Folder of the file that holds a larger set for all processes; None decodes each time.
        encoded: Give images that would be decoded each time as JPEG files, where they are plain ones.
    """
    paths = list(images.table["image"])
    read = in_memory(partial(_read, paths), images, memory_gb)
    if isinstance(read, _InMemory):
        return read
    if folder is not None:
        return DecodedFile(folder, images)
    return partial(_read_encoded, paths) if encoded else read


def in_memory(read: Callable[[int], Any], images: Manifest, memory_gb: float) -> Callable[[int], Any]:
    """Return `read` with its results kept in memory, if all images with a mask each fit into `memory_gb`."""
    size = 4 * sum(height * width for height, width in image_shapes(images))
    return _InMemory(read) if size <= memory_gb * 1e9 else read


def image_shapes(images: Manifest) -> list[tuple[int, int]]:
    """Return (height, width) of every image in pixels."""
    return list(zip(images.table["height"], images.table["width"], strict=True))


def images_digest(images: Manifest) -> str:
    """Return a digest of path, size in bytes, time of change, height and width of every image file, in order."""
    stats = ((path, Path(path).stat()) for path in images.table["image"])
    stamps = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
    return digest([stamps, np.array(image_shapes(images)).tolist()])


def require_room(folder: Path, size: int, content: str, remedy: str) -> None:
    """Make `run.cache_folder`; raise SemplesError if its disk has less than `size` bytes free for the `content`."""
    folder.mkdir(parents=True, exist_ok=True)
    if size > (free := shutil.disk_usage(folder).free):
        problem, expected = f"{free / 1e9:.2f} GB free in {folder}", f"{size / 1e9:.2f} GB for the {content}"
        remedy = f"name a larger disk, {remedy}, or leave `run.cache_folder` empty"
        raise SemplesError("run.cache_folder", problem, expected, remedy)


def _read_encoded(paths: list[str], index: int) -> np.ndarray | Jpeg:
    path = Path(paths[index])
    return read_jpeg(path) or read_image(path)


def _read(paths: list[str], index: int) -> np.ndarray:
    image = _read_encoded(paths, index)
    return decode([image])[0].permute(1, 2, 0).numpy() if isinstance(image, Jpeg) else image


class _InMemory(dict):
    """The results of `read`, each kept after its first use; a class, so that workers can be sent one."""

    def __init__(self, read: Callable[[int], Any]) -> None:
        self.read = read

    def __call__(self, index: int) -> Any:
        if index not in self:
            self[index] = self.read(index)
        return self[index]


class DecodedFile:
    """Decoded images in one file under `folder`, named after the images it holds (`run.cache_folder`).

    The file holds a byte per image that says whether it is decoded, then the pixels of all images, uint8
    (height, width, 3). The process that first asks for an image writes it, so a killed run goes on filling the file.
    """

    def __init__(self, folder: Path, images: Manifest) -> None:
        self.paths, self.shapes = list(images.table["image"]), image_shapes(images)
        self.starts = np.cumsum([len(self.paths), *(3 * height * width for height, width in self.shapes)])
        self.path = folder / f"images-{images_digest(images)}.uint8"
        self._map: np.memmap | None = None
        self._make(int(self.starts[-1]))

    def __call__(self, index: int) -> np.ndarray:
        """Return image `index`; decode and write it if no process has."""
        if self._map is None:
            self._map = np.memmap(self.path, np.uint8, "r+")
        pixels = self._map[self.starts[index] : self.starts[index + 1]].reshape(*self.shapes[index], 3)
        if not self._map[index]:
            pixels[:] = _read(self.paths, index)
            self._map[index] = 1  # last: a process that is killed before leaves the image to be decoded again
        return np.array(pixels)

    def _make(self, size: int) -> None:
        """Make an empty file of `size` bytes, unless it is there."""
        log.info("decoded images: %.2f GB in %s", size / 1e9, self.path)
        if self.path.exists() and self.path.stat().st_size == size:
            return
        require_room(self.path.parent, size, "decoded images", "shrink the images with `data.max_side`")
        with open(self.path, "ab") as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a map into a file without its room ends in SIGBUS
