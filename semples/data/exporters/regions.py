"""Masks of images, and the connected regions of their classes."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from semples.data.images import IGNORE


@dataclass(frozen=True)
class MaskedImage:
    """An image's file name and its mask: 0 background, k + 1 class k, 255 void."""

    id: str
    file: str  # the id with the suffix of the photograph
    split: str  # names separated by ";"
    mask: np.ndarray  # uint8 (height, width)


@dataclass(frozen=True)
class Region:
    """A connected part of a class in an image, as the rectangle that holds it; `left` and `top` are in pixels."""

    klass: int  # counted from 0
    left: int
    top: int
    pixels: np.ndarray  # bool (h, w)

    @property
    def box(self) -> list[int]:
        """Return left, top, width and height in pixels."""
        height, width = self.pixels.shape
        return [self.left, self.top, width, height]

    def paint(self, image: np.ndarray, value: int | np.ndarray) -> None:
        """Set the region's pixels of an image, (height, width) or (height, width, 3), to a value or a colour."""
        left, top, width, height = self.box
        image[top : top + height, left : left + width][self.pixels] = value

    def outline(self) -> np.ndarray:
        """Return the outer outline, float32 (points, 2), x and y in pixels, the corner of the image being (0, 0).

        The points lie a quarter of a pixel inside the region, so that it holds the centres of its own pixels and of no
        others. Holes are filled.
        """
        doubled = np.repeat(np.repeat(self.pixels.astype(np.uint8), 2, axis=0), 2, axis=1)
        contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        points = max(contours, key=cv2.contourArea)[:, 0].astype(np.float32)
        return (points + 0.5) / 2 + np.array([self.left, self.top], np.float32)


def regions(mask: np.ndarray, least_area: int = 1) -> Iterator[Region]:
    """Yield the 8-connected regions of every class that have at least `least_area` pixels, class by class."""
    for value in np.setdiff1d(np.unique(mask), [0, IGNORE]).tolist():
        count, labels, stats, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=8)
        for number in range(1, count):
            left, top, width, height, area = stats[number].tolist()
            if area >= least_area:
                yield Region(value - 1, left, top, labels[top : top + height, left : left + width] == number)


def without_specks(mask: np.ndarray, least_area: int) -> np.ndarray:
    """Return a mask in which regions with fewer pixels than `least_area` are background; void stays void."""
    cleaned = np.where(mask == IGNORE, mask, 0).astype(np.uint8)
    for region in regions(mask, least_area):
        region.paint(cleaned, region.klass + 1)
    return cleaned
