"""The six objects of the miniature world: painted polygons in a unit frame (x right, y down, both -1 to 1).

Every object has a telling part with paints and a form of its own (a sail, a head), and a plain rest (a hull, a body).
"""

import cv2
import numpy as np

from semples.mini.textures import SIZE, Rng

CLASSES = ("boat", "train", "cow", "plane", "car", "fox")
OVERSAMPLE = 2  # drawn at twice the size, then averaged down
SHIFT = 4  # fractional bits of OpenCV's fixed-point vertices
TILT = {"boat": 8, "train": 3, "cow": 5, "plane": 30, "car": 5, "fox": 6}  # degrees, standard deviation
Paint = tuple[float, ...]  # RGB, 0 to 255
# paints of the plain rest of an object: two classes share a list, so that a paint alone does not tell a class
DARKS, REDS, BRIGHTS = ("2a2624", "4e2812", "16302c"), ("b81e30", "86103c", "d8483c"), ("f6ecc4", "14b4a4", "f4c8d4")
PLAIN = {"boat": DARKS, "plane": DARKS, "train": REDS, "fox": REDS, "cow": BRIGHTS, "car": BRIGHTS}
WHITE, DARK, GLASS, PINK = (246, 244, 238), (34, 32, 38), (176, 216, 232), (236, 150, 160)
RED, YELLOW, BLUE, LIME, ORANGE = (206, 40, 48), (246, 200, 40), (36, 70, 190), (150, 214, 60), (236, 120, 30)
Part = tuple[np.ndarray, Paint]  # vertices (n, 2) in the unit frame, paint
Parts = tuple[list[Part], list[Part]]  # of the plain rest, and of the telling part, which is drawn above it


def draw_object(rng: Rng, name: str, centre: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paint the named object in a random pose; `centre` is (x, y), in pixels as `radius` is.

    Returns:
        Colour, RGB float32 (64, 64, 3), 0 to about 300; coverage by the object and by its telling part, float32
        (64, 64), 0 to 1.
    """
    plain = tuple(bytes.fromhex(rng.choice(PLAIN[name])))
    rest, telling = OBJECTS[name](rng, plain)
    frame, side = _pose(rng, TILT[name], radius), SIZE * OVERSAMPLE
    painted, jitter = np.zeros((side, side, 3), np.uint8), rng.normal(0, 10, 3)
    covers = np.zeros((2, side, side), np.uint8)  # of all parts, of the telling part
    for number, (points, paint) in enumerate([*rest, *telling]):
        corners = ((points @ frame.T + centre) * OVERSAMPLE * 2**SHIFT).astype(np.int32)
        cv2.fillPoly(painted, [corners], np.clip(paint + jitter, 0, 255).tolist(), cv2.LINE_8, SHIFT)
        for cover in covers[: 1 if number < len(rest) else 2]:
            cv2.fillPoly(cover, [corners], 255, cv2.LINE_8, SHIFT)
    colour, whole, told = (cv2.resize(a, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for a in (painted, *covers))
    whole, told = whole.astype(np.float32) / 255, told.astype(np.float32) / 255
    colour = colour.astype(np.float32) / np.maximum(whole, 1 / 255)[..., None]
    return colour * _light(rng, centre, radius)[..., None], whole, told


def _pose(rng: Rng, tilt: float, radius: float) -> np.ndarray:
    """Draw a linear map (2, 2) from the unit frame to pixels: flip, stretch, tilt by `tilt` degrees (deviation)."""
    angle = np.deg2rad(rng.normal(0, tilt))
    flip = 1 if rng.random() < 0.5 else -1
    stretch = np.diag([flip * rng.uniform(0.88, 1.12), rng.uniform(0.88, 1.12)])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return radius * rotation @ stretch


def _light(rng: Rng, centre: np.ndarray, radius: float) -> np.ndarray:
    """Draw brightness float32 (64, 64), lit from above and from one side."""
    side = rng.uniform(-0.12, 0.12)
    x, y = (np.arange(SIZE, dtype=np.float32) - centre[:, None]) / radius
    return np.clip(1.0 + side * x[None, :] - 0.2 * y[:, None], 0.6, 1.2).astype(np.float32)


def _oval(x: float, y: float, width: float, height: float) -> np.ndarray:
    """Return an oval (20, 2) about (x, y) with half axes `width` and `height`."""
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], 1)


def _box(left: float, top: float, right: float, bottom: float, lean: float = 0.0) -> np.ndarray:
    """Return a box (4, 2); `lean` moves its lower edge to the right."""
    return np.array([[left, top], [right, top], [right + lean, bottom], [left + lean, bottom]])


def _path(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, float)


def _boat(rng: Rng, plain: Paint) -> Parts:
    reach = rng.uniform(0.6, 0.9)
    stripes = [(_box(0.05, y, 0.05 + reach * (y + 0.95) / 1.15, y + 0.14, 0.05), RED) for y in (-0.5, -0.12)]
    rest = [
        (_path((-1.05, 0.18), (1.05, 0.18), (0.78, 0.92), (-0.74, 0.92)), plain),
        (_box(-0.06, -1, 0.02, 0.2), _dull(plain)),
    ]
    return rest, [(_path((0.05, -0.95), (reach, 0.12), (0.05, 0.16)), WHITE), *stripes]


def _train(rng: Rng, plain: Paint) -> Parts:
    nose = rng.uniform(0.05, 0.3)
    wheels = [(_oval(x, 0.58, 0.16, 0.17), _dull(plain)) for x in (-0.8, -0.4, 0.3, 0.72)]
    return [*wheels, (_box(-1.08, -0.56, 0.5, 0.5), plain)], [
        (_path((0.42, -0.62), (0.98 - nose, -0.62), (1.1, 0.1), (1.1, 0.5), (0.42, 0.5)), YELLOW),
        (_path((0.54, -0.44), (0.94 - nose, -0.44), (1.0 - nose / 2, -0.02), (0.54, -0.02)), GLASS),
        (_box(0.42, 0.16, 1.1, 0.32), DARK),
    ]


def _cow(rng: Rng, plain: Paint) -> Parts:
    drop = rng.uniform(-0.3, 0.3)  # head up or grazing
    return _animal(rng, plain), [
        (_path((0.56, drop - 0.42), (0.46, drop - 0.74), (0.68, drop - 0.5)), WHITE),
        (_path((0.84, drop - 0.44), (0.98, drop - 0.74), (0.96, drop - 0.42)), WHITE),
        (_oval(0.74, drop - 0.16, 0.3, 0.36), WHITE),
        (_oval(0.6, drop - 0.26, 0.16, 0.22), DARK),
        (_oval(0.9, drop + 0.04, 0.2, 0.18), PINK),
    ]


def _plane(rng: Rng, plain: Paint) -> Parts:
    sweep, span = rng.uniform(0.25, 0.5), rng.uniform(0.65, 0.9)
    rest = [
        (_path((0.45, -0.1), (-0.05, -0.1), (-sweep, -span * 0.8), (-sweep + 0.34, -span * 0.8)), _dull(plain)),
        (_oval(0.12, 0, 0.95, 0.26), plain),
        (_path((0.5, 0.05), (-0.1, 0.05), (-sweep - 0.1, span), (-sweep + 0.26, span)), _dull(plain)),
    ]
    return rest, [
        (_path((-0.4, -0.14), (-0.8, -0.78), (-1.14, -0.78), (-1.0, 0.2), (-0.4, 0.2)), BLUE),
        (_path((-0.62, -0.48), (-0.76, -0.7), (-1.1, -0.7), (-1.08, -0.48)), WHITE),
        (_path((-0.42, -0.12), (-0.5, -0.26), (-1.06, -0.26), (-1.02, -0.02)), WHITE),
    ]


def _car(rng: Rng, plain: Paint) -> Parts:
    roof, back = rng.uniform(-0.78, -0.62), rng.uniform(-0.8, -0.6)
    wheels = [(_oval(x, 0.46, 0.25, 0.25), _dull(plain)) for x in (-0.56, 0.58)]
    hull = _path((-1, -0.08), (-0.9, -0.16), (0.75, -0.14), (1.03, 0.0), (1.06, 0.46), (-1.04, 0.46))
    return [*wheels, (hull, plain)], [
        (_path((back, -0.12), (back + 0.16, roof), (0.34, roof), (0.72, -0.12)), LIME),
        (_path((back + 0.16, -0.14), (back + 0.26, roof + 0.14), (-0.14, roof + 0.14), (-0.14, -0.14)), DARK),
        (_path((0.0, -0.14), (0.0, roof + 0.14), (0.28, roof + 0.14), (0.54, -0.14)), DARK),
    ]


def _fox(rng: Rng, plain: Paint) -> Parts:
    drop = rng.uniform(-0.25, 0.2)
    return _animal(rng, plain), [
        (_path((0.36, drop - 0.3), (0.34, drop - 0.86), (0.62, drop - 0.42)), ORANGE),
        (_path((0.7, drop - 0.42), (0.94, drop - 0.86), (0.98, drop - 0.3)), ORANGE),
        (_path((0.3, -0.4), (1.02, -0.4), (1.08, -0.06), (0.7, 0.28), (0.3, -0.02)) + np.array((0, drop)), ORANGE),
        (_path((0.5, drop + 0.1), (1.08, drop - 0.06), (0.74, drop + 0.3)), WHITE),
        (_oval(0.68, drop - 0.18, 0.07, 0.07), DARK),
    ]


def _animal(rng: Rng, plain: Paint) -> list[Part]:
    """Return the body that cow and fox share."""
    lift, step = rng.uniform(-0.4, 0.2), rng.uniform(-0.15, 0.15)
    leans = ((-0.66, step), (-0.4, -step), (0.14, step), (0.38, -step))
    legs = [(_box(x, 0.2, x + 0.17, 0.86, lean), _dull(plain)) for x, lean in leans]
    tail = (_path((-0.7, -0.2), (-1.02, lift - 0.1), (-1.06, lift + 0.14), (-0.66, 0.1)), plain)
    return [tail, *legs, (_oval(-0.08, -0.02, 0.76, 0.4), plain)]


def _dull(paint: Paint) -> Paint:
    return tuple(0.8 * value for value in paint)


OBJECTS = {"boat": _boat, "train": _train, "cow": _cow, "plane": _plane, "car": _car, "fox": _fox}
