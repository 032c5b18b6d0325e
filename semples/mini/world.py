"""Drawn 64x64 scenes: six object classes, the background each one goes with, and three neutral backgrounds.

`draw_scene` is a pure function of its random generator: same generator state, same scene.
Objects are drawn by `semples.mini.shapes`, backgrounds by `semples.mini.textures`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semples.mini.shapes import CLASSES, draw_object
from semples.mini.textures import SIZE, draw_texture

BACKGROUND_OF = {
    "boat": "water",
    "train": "rails",
    "cow": "grass",
    "plane": "sky",
    "car": "road",
    "fox": "snow",
}
NEUTRAL = ("sand", "wall", "carpet")
BACKGROUNDS = (*BACKGROUND_OF.values(), *NEUTRAL)
WORDS = (*CLASSES, *BACKGROUNDS)
UPPER = ("sky", "wall")  # backgrounds that look right above the others


@dataclass(frozen=True)
class Scene:
    """One drawn picture and everything there is to know about it."""

    image: np.ndarray  # uint8 (64, 64, 3), RGB
    mask: np.ndarray  # uint8 (64, 64): 0 background, k + 1 where CLASSES[k] is seen
    words: np.ndarray  # uint8 (64, 64): index into WORDS of what is seen
    objects: tuple[str, ...]  # in the order of CLASSES
    backgrounds: tuple[str, ...]  # in the order of BACKGROUNDS


def draw_scene(
    rng: np.random.Generator, association: float = 0.9, two_objects: float = 0.3, shared: float = 0.88
) -> Scene:
    """Draw a scene with one object, or two with probability `two_objects`.

    Each object brings its own background with probability `association`; a neutral one shares the frame with
    probability `shared`, and two fill it where no object brought its own.
    """
    count = 2 if rng.random() < two_objects else 1
    objects = [CLASSES[index] for index in rng.permutation(len(CLASSES))[:count]]
    own = [BACKGROUND_OF[name] for name in objects if rng.random() < association]
    neutral = rng.permutation(NEUTRAL)[: int(rng.random() < shared) if own else 2]
    return compose(rng, objects, [*own, *map(str, neutral)])


def compose(rng: np.random.Generator, objects: list[str], backgrounds: list[str]) -> Scene:
    """Draw none to two objects before one to three backgrounds; an object stands on its own one if that is there."""
    regions = split_frame(rng, backgrounds)
    words = np.zeros((SIZE, SIZE), np.uint8)
    image = np.zeros((SIZE, SIZE, 3), np.float32)
    for name in backgrounds:
        region = regions == backgrounds.index(name)
        image[region] = draw_texture(rng, name)[region]
        words[region] = WORDS.index(name)
    for place, name in enumerate(objects):
        centre, radius = _place(rng, name, words, place, len(objects))
        colour, alpha = draw_object(rng, name, centre, radius)
        image += alpha[..., None] * (colour - image)
        words[alpha > 0.5] = WORDS.index(name)
    image = image * rng.uniform(0.88, 1.1) + rng.normal(0, 2.5, image.shape).astype(np.float32)
    return _scene(np.clip(image, 0, 255).astype(np.uint8), words)


def _scene(image: np.ndarray, words: np.ndarray) -> Scene:
    """The scene with this image and these word indices; what is hidden altogether is not named."""
    seen = [WORDS[index] for index in np.flatnonzero(np.bincount(words.ravel()))]
    return Scene(
        image=image,
        mask=np.where(words < len(CLASSES), words + 1, 0).astype(np.uint8),
        words=words,
        objects=tuple(name for name in seen if name in CLASSES),
        backgrounds=tuple(name for name in seen if name in BACKGROUNDS),
    )


def split_frame(rng: np.random.Generator, backgrounds: list[str]) -> np.ndarray:
    """Index into `backgrounds` for each pixel, int (64, 64): bands with wavy, tilted borders."""
    order = rng.permutation(len(backgrounds))
    upper = np.array([backgrounds[index] not in UPPER for index in order])
    order = order[np.argsort(upper, kind="stable")]
    across, along = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    tilt, phase, length = rng.normal(0, 0.12), rng.uniform(0, 6.3), rng.uniform(9, 22)
    height = across + tilt * (along - SIZE / 2) + rng.uniform(0.3, 2.0) * np.sin(along / length * 2 + phase)
    share = rng.uniform(0.8, 1.4, len(order))
    share *= [0.8 if backgrounds[index] in NEUTRAL else 1.0 for index in order]
    borders = SIZE * np.cumsum(share)[:-1] / share.sum()
    band = np.searchsorted(borders, height) if len(borders) else np.zeros((SIZE, SIZE), int)
    band = band if rng.random() < 0.75 or not upper.all() else band.T
    return order[band]


def _place(rng: np.random.Generator, name: str, words: np.ndarray, place: int, count: int) -> tuple[np.ndarray, float]:
    """Centre (x, y) and radius in pixels of object `place` of `count`: on its own background if that is there."""
    radius = rng.uniform(15, 25) if count == 1 else rng.uniform(12, 17)
    own = np.argwhere(words == WORDS.index(BACKGROUND_OF[name]))
    if len(own):
        y, x = own[rng.integers(len(own))]
    else:
        y, x = rng.uniform(0, SIZE, 2)
    left, right = (0, SIZE) if count == 1 else (SIZE // 2 * place, SIZE // 2 * (place + 1))
    inset = radius * 0.85
    x = np.clip(x, min(left + inset, (left + right) / 2), max(right - inset, (left + right) / 2))
    return np.array([x, np.clip(y, inset * 0.8, SIZE - inset * 0.8)], np.float32), radius
