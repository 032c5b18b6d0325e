"""Decoded training images in one file that all processes of a machine map into memory: `run.cache_folder`.

The file holds the pixels of all images one after the other, uint8 (height, width, 3), and a byte an image that says
whether they are there; whoever decodes an image first writes it. Killed in between, it goes on being filled.
"""

import logging
import shutil
from pathlib import Path

import numpy as np

from semples.errors import SemplesError
from semples.files import digest

log = logging.getLogger(__name__)


class DecodedImages:
    """Images `paths` of `shapes` (height, width) in a file under `folder`, named after the images it holds."""

    def __init__(self, folder: Path, paths: list[str], shapes: list[tuple[int, int]]) -> None:
        self.shapes = shapes
        lengths = np.array([3 * height * width for height, width in shapes], np.int64)
        self.starts = len(paths) + np.concatenate([[0], lengths.cumsum()])
        self.size = int(self.starts[-1])
        stamps = [(path, (found := Path(path).stat()).st_size, found.st_mtime_ns) for path in paths]
        self.path = Path(folder) / f"images-{digest([stamps, np.array(shapes).tolist()])}.uint8"
        self._map: np.memmap | None = None
        self._make()

    def read(self, index: int) -> np.ndarray | None:
        """RGB uint8 (height, width, 3), or None where the image is not there yet."""
        if not self._pixels()[index]:
            return None
        return np.array(self._place(index))

    def write(self, index: int, image: np.ndarray) -> None:
        """Keep an image; the byte that says so comes last."""
        self._place(index)[:] = image
        self._pixels()[index] = 1

    def _make(self) -> None:
        """An empty file of the whole size; it takes room on the disk as it is filled."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        words = f"decoded images: {self.size / 1e9:.2f} GB in {self.path}"
        if self.path.exists() and self.path.stat().st_size == self.size:
            log.info("%s, there already", words)
            return
        free = shutil.disk_usage(self.path.parent).free
        if self.size > free:
            raise SemplesError(
                "run.cache_folder",
                f"{free / 1e9:.2f} GB free in {self.path.parent}",
                f"{self.size / 1e9:.2f} GB for the decoded images",
                "name a larger disk, shrink the images with `data.max_side`, or leave `run.cache_folder` empty",
            )
        log.info(words)
        with open(self.path, "ab") as file:
            file.truncate(self.size)

    def _place(self, index: int) -> np.ndarray:
        height, width = self.shapes[index]
        return self._pixels()[self.starts[index] : self.starts[index + 1]].reshape(height, width, 3)

    def _pixels(self) -> np.memmap:
        if self._map is None:
            self._map = np.memmap(self.path, np.uint8, "r+")
        return self._map
