"""The six objects of the miniature world: painted polygons in a unit frame (x right, y down, both -1 to 1)."""

import cv2
import numpy as np

from semples.mini.textures import SIZE, Rng

CLASSES = ("boat", "train", "cow", "plane", "car", "fox")
OVERSAMPLE = 2  # drawn at twice the size, then averaged down
SHIFT = 4  # fractional bits of OpenCV's fixed-point vertices
TILT = {"boat": 8, "train": 3, "cow": 5, "plane": 30, "car": 5, "fox": 6}  # degrees, standard deviation
Paint = tuple[float, ...]  # RGB, 0 to 255
# paints of body and trim. All vehicles share one list and all animals the other, so that colour does not tell a class.
LACQUERS = ("c4342e f8f0e0", "3468b2 eceef2", "2e7652 e8cc60", "f0bc38 3c4254", "f0f0ee c43c38", "e0e4ea 345ca8")
COATS = ("f2eee6 2c2626", "de742a faf0e2", "865232 f0e6d6", "cea06e faf4e8", "787476 eceae8")
DARK, GLASS, LAMP, HUB = (34, 32, 38), (176, 216, 232), (255, 236, 150), (190, 192, 198)
Part = tuple[np.ndarray, Paint]  # vertices (n, 2) in the unit frame, paint


def draw_object(rng: Rng, name: str, centre: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Paint the named object in a random pose; `centre` is (x, y), in pixels as `radius` is.

    Returns:
        Colour, RGB float32 (64, 64, 3), 0 to about 300, and coverage, float32 (64, 64), 0 to 1.
    """
    paints = COATS if name in ("cow", "fox") else LACQUERS
    body, trim = (tuple(bytes.fromhex(paint)) for paint in paints[rng.integers(len(paints))].split())
    parts, frame = OBJECTS[name](rng, body, trim), _pose(rng, TILT[name], radius)
    side = SIZE * OVERSAMPLE
    painted, filled = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8)
    jitter = rng.normal(0, 10, 3)
    for points, paint in parts:
        corners = ((points @ frame.T + centre) * OVERSAMPLE * 2**SHIFT).astype(np.int32)
        cv2.fillPoly(painted, [corners], np.clip(paint + jitter, 0, 255).tolist(), cv2.LINE_8, SHIFT)
        cv2.fillPoly(filled, [corners], 255, cv2.LINE_8, SHIFT)
    colour, cover = (cv2.resize(drawn, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for drawn in (painted, filled))
    cover = cover.astype(np.float32) / 255
    colour = colour.astype(np.float32) / np.maximum(cover, 1 / 255)[..., None]
    return colour * _light(rng, centre, radius)[..., None], cover


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


def _boat(rng: Rng, body: Paint, trim: Paint) -> list[Part]:
    reach = rng.uniform(0.55, 0.85)
    sail = (250, 247, 238) if rng.random() < 0.6 else trim
    return [
        (_box(-0.06, -1, 0.02, 0.4), (96, 66, 44)),
        (_path((0.05, -0.95), (reach, 0.22), (0.05, 0.26)), sail),
        (_path((-0.1, -0.8), (-0.1, 0.24), (-reach * 0.8, 0.2)), tuple(0.88 * np.array(sail))),
        (_path((-1, 0.3), (1, 0.3), (0.72, 0.85), (-0.66, 0.85)), body),
        (_path((-1, 0.3), (1, 0.3), (0.94, 0.44), (-0.93, 0.44)), trim),
    ]


def _train(rng: Rng, body: Paint, trim: Paint) -> list[Part]:
    nose = rng.uniform(0.0, 0.3)
    windows = [(_box(x, -0.32, x + 0.3, 0.0), GLASS) for x in (-0.9, -0.48, -0.06, 0.36)]
    wheels = [(_oval(x, 0.6, 0.16, 0.17), DARK) for x in (-0.8, -0.4, 0.35, 0.75)]
    return [
        (_box(-0.98, 0.4, 0.95, 0.58), DARK),
        *wheels,
        (_path((-1.05, -0.52), (0.95 - nose, -0.52), (1.05, 0.1), (1.05, 0.48), (-1.05, 0.48)), body),
        (_path((-1.05, -0.64), (0.88 - nose, -0.64), (0.97 - nose, -0.5), (-1.05, -0.5)), (90, 92, 98)),
        (_path((-1.05, 0.12), (1.05, 0.12), (1.05, 0.25), (-1.05, 0.25)), trim),
        *windows,
        (_oval(0.95, 0.34, 0.08, 0.08), LAMP),
    ]


def _cow(rng: Rng, body: Paint, trim: Paint) -> list[Part]:
    drop = rng.uniform(-0.25, 0.5)  # head up or grazing
    legs = [(_box(x, 0.2, x + 0.15, 0.88, rng.uniform(-0.1, 0.1)), body) for x in (-0.66, -0.42, 0.2, 0.42)]
    spots = [(_oval(x, rng.uniform(-0.3, 0.1), rng.uniform(0.12, 0.24), 0.17), trim) for x in (-0.5, -0.1, 0.3)]
    return [
        (_path((-0.74, -0.3), (-0.98, 0.0), (-0.94, 0.4), (-0.86, 0.4), (-0.88, 0.02), (-0.66, -0.1)), trim),
        *legs,
        (_oval(-0.1, -0.06, 0.72, 0.42), body),
        *spots,
        (_path((0.4, -0.4), (0.7, drop - 0.4), (0.8, drop + 0.0), (0.45, 0.2)), body),
        (_path((0.58, drop - 0.42), (0.52, drop - 0.66), (0.66, drop - 0.5)), (226, 210, 176)),
        (_path((0.8, drop - 0.44), (0.9, drop - 0.66), (0.92, drop - 0.42)), (226, 210, 176)),
        (_oval(0.76, drop - 0.22, 0.24, 0.25), trim),
        (_oval(0.9, drop - 0.08, 0.16, 0.14), (226, 170, 160)),
    ]


def _plane(rng: Rng, body: Paint, trim: Paint) -> list[Part]:
    sweep, span = rng.uniform(0.3, 0.6), rng.uniform(0.6, 0.9)
    dull = tuple(0.78 * np.array(body))
    return [
        (_path((0.25, -0.1), (-0.05, -0.1), (-sweep, -span * 0.8), (-sweep + 0.22, -span * 0.8)), dull),
        (_path((-0.62, -0.08), (-0.9, -0.55), (-1.02, -0.55), (-0.92, 0.0)), trim),
        (_oval(0, 0, 1, 0.2), body),
        (_path((-0.7, 0.0), (-1.05, 0.26), (-0.9, 0.26), (-0.45, 0.06)), trim),
        (_path((0.3, 0.05), (-0.1, 0.05), (-sweep - 0.1, span), (-sweep + 0.14, span)), dull),
        (_path((0.7, -0.14), (0.86, -0.1), (0.92, -0.01), (0.68, -0.01)), DARK),
        (_box(-0.6, -0.05, 0.55, 0.01), trim),
    ]


def _car(rng: Rng, body: Paint, trim: Paint) -> list[Part]:
    roof, back = rng.uniform(-0.62, -0.45), rng.uniform(-0.8, -0.55)
    wheels = [(_oval(x, 0.42, r, r), paint) for x in (-0.56, 0.58) for r, paint in ((0.25, DARK), (0.11, HUB))]
    return [
        (_path((back, -0.05), (back + 0.18, roof), (0.25, roof), (0.6, -0.05)), body),
        (_path((back + 0.14, -0.06), (back + 0.25, roof + 0.1), (-0.16, roof + 0.1), (-0.16, -0.06)), GLASS),
        (_path((-0.06, -0.06), (-0.06, roof + 0.1), (0.2, roof + 0.1), (0.46, -0.06)), GLASS),
        (_path((-1, 0.0), (-0.9, -0.12), (0.7, -0.1), (1, 0.05), (1.03, 0.42), (-1.02, 0.42)), body),
        (_box(-1.02, 0.3, 1.03, 0.42), trim),
        *wheels,
        (_oval(0.96, 0.14, 0.07, 0.09), LAMP),
    ]


def _fox(rng: Rng, body: Paint, trim: Paint) -> list[Part]:
    lift, drop = rng.uniform(-0.5, 0.3), rng.uniform(-0.15, 0.25)  # tail and head
    step = rng.uniform(-0.22, 0.22)
    legs = [(_box(x, 0.15, x + 0.13, 0.8, s), DARK) for x, s in zip((-0.45, -0.28, 0.2, 0.36), (step, -step) * 2)]
    return [
        (_path((-0.45, -0.05), (-0.75, lift - 0.12), (-0.9, lift), (-0.78, lift + 0.22), (-0.4, 0.22)), body),
        (_path((-0.75, lift - 0.14), (-1.08, lift + 0.04), (-0.78, lift + 0.24)), trim),
        *legs,
        (_oval(-0.04, 0.06, 0.56, 0.27), body),
        (_oval(0.32, 0.16, 0.2, 0.2), trim),
        (_path((0.44, drop - 0.38), (0.44, drop - 0.74), (0.62, drop - 0.42)), body),
        (_path((0.66, drop - 0.42), (0.8, drop - 0.74), (0.84, drop - 0.36)), body),
        (_path((0.36, -0.36), (0.88, -0.38), (1.06, -0.02), (0.62, 0.12), (0.36, -0.02)) + np.array((0, drop)), body),
        (_path((0.62, drop + 0.12), (1.06, drop - 0.02), (0.74, drop - 0.1)), trim),
        (_oval(1.04, drop - 0.03, 0.06, 0.06), DARK),
        (_oval(0.72, drop - 0.22, 0.05, 0.05), DARK),
    ]


OBJECTS = {"boat": _boat, "train": _train, "cow": _cow, "plane": _plane, "car": _car, "fox": _fox}
