"""Draw scenes of 64x64 pixels: six object classes, the usual background of each, and three neutral backgrounds.

A scene depends on the state of the random generator alone.
"""

from dataclasses import dataclass

import numpy as np

from semples.mini.shapes import CLASSES, draw_object
from semples.mini.textures import SIZE, Rng, draw_texture

BACKGROUND_OF = dict(zip(CLASSES, ("water", "rails", "grass", "sky", "road", "snow"), strict=True))
NEUTRAL = ("sand", "wall", "carpet")
BACKGROUNDS = (*BACKGROUND_OF.values(), *NEUTRAL)
WORDS = (*CLASSES, *BACKGROUNDS)
UPPER = ("sky", "wall")  # backgrounds drawn above the others


@dataclass(frozen=True)
class Scene:
    """One drawn picture with its labels."""

    image: np.ndarray  # RGB uint8 (64, 64, 3)
    mask: np.ndarray  # uint8 (64, 64): 0 background, k + 1 where CLASSES[k] is visible
    word_map: np.ndarray  # uint8 (64, 64): index into WORDS
    telling: np.ndarray  # bool (64, 64): where the telling part of an object is visible
    objects: tuple[str, ...]  # visible classes in the order of CLASSES
    backgrounds: tuple[str, ...]  # visible backgrounds in the order of BACKGROUNDS


def draw_scene(rng: Rng, association: float = 0.9, two_objects: float = 0.3, shared: float = 0.88) -> Scene:
    """Draw a scene of the data set.

    Args:
        association: Probability that an object brings its own background; two neutral ones replace it if none does.
        two_objects: Probability of a second object.
        shared: Probability that a neutral background shares the frame with the objects' own.
    """
    count = 2 if rng.random() < two_objects else 1
    objects = [CLASSES[index] for index in rng.permutation(len(CLASSES))[:count]]
    own = [BACKGROUND_OF[name] for name in objects if rng.random() < association]
    neutral = rng.permutation(NEUTRAL)[: int(rng.random() < shared) if own else 2]
    return compose(rng, objects, [*own, *map(str, neutral)])


def compose(rng: Rng, objects: list[str], backgrounds: list[str]) -> Scene:
    """Draw up to two objects over one to three backgrounds, each on its own background where that is present."""
    regions = split_frame(rng, backgrounds)
    word_map, image = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE, 3), np.float32)
    telling = np.zeros((SIZE, SIZE), bool)
    for index, name in enumerate(backgrounds):
        region = regions == index
        image[region] = draw_texture(rng, name)[region]
        word_map[region] = WORDS.index(name)
    for index, name in enumerate(objects):
        centre, radius = _position(rng, name, word_map, index, len(objects))
        colour, alpha, told = draw_object(rng, name, centre, radius)
        image += alpha[..., None] * (colour - image)
        word_map[alpha > 0.5] = WORDS.index(name)
        telling = np.where(alpha > 0.5, told > 0.5, telling)
    image = image * rng.uniform(0.88, 1.1) + rng.normal(0, 2.5, image.shape).astype(np.float32)
    mask = np.where(word_map < len(CLASSES), word_map + 1, 0).astype(np.uint8)
    visible = [WORDS[index] for index in np.unique(word_map)]
    kinds = (tuple(name for name in visible if name in kind) for kind in (CLASSES, BACKGROUNDS))
    return Scene(np.clip(image, 0, 255).astype(np.uint8), mask, word_map, telling, *kinds)


def split_frame(rng: Rng, backgrounds: list[str]) -> np.ndarray:
    """Divide the frame into bands with wavy, tilted borders: int (64, 64), indices into `backgrounds`."""
    order = rng.permutation(len(backgrounds))
    upper = np.array([backgrounds[index] not in UPPER for index in order])
    order = order[np.argsort(upper, kind="stable")]
    across, along = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    tilt, phase, length = rng.normal(0, 0.12), rng.uniform(0, 6.3), rng.uniform(9, 22)
    height = across + tilt * (along - SIZE / 2) + rng.uniform(0.3, 2.0) * np.sin(along / length * 2 + phase)
    share = rng.uniform(0.8, 1.4, len(order)) * [0.8 if backgrounds[index] in NEUTRAL else 1.0 for index in order]
    borders = SIZE * np.cumsum(share)[:-1] / share.sum()
    band = np.searchsorted(borders, height) if len(borders) else np.zeros((SIZE, SIZE), int)
    band = band if rng.random() < 0.75 or not upper.all() else band.T
    return order[band]


def _position(rng: Rng, name: str, word_map: np.ndarray, index: int, count: int) -> tuple[np.ndarray, float]:
    """Draw centre (x, y) and radius of object `index` of `count`, in pixels, on its own background if present."""
    radius = rng.uniform(15, 25) if count == 1 else rng.uniform(12, 17)
    own = np.argwhere(word_map == WORDS.index(BACKGROUND_OF[name]))
    y, x = own[rng.integers(len(own))] if len(own) else rng.uniform(0, SIZE, 2)
    left, right = (0, SIZE) if count == 1 else (SIZE // 2 * index, SIZE // 2 * (index + 1))
    inset = radius * 0.85
    x = np.clip(x, min(left + inset, (left + right) / 2), max(right - inset, (left + right) / 2))
    return np.array([x, np.clip(y, inset * 0.8, SIZE - inset * 0.8)], np.float32), radius
