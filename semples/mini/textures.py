"""Nine background textures of the miniature world, each a function of a random generator."""

import cv2
import numpy as np

SIZE = 64
Rng = np.random.Generator
ROWS, COLUMNS = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


def draw_texture(rng: Rng, name: str) -> np.ndarray:
    """Draw the named texture over the whole frame, with jittered colours: RGB float32 (64, 64, 3), about 0 to 255."""
    return TEXTURES[name](rng) + rng.normal(0, 6, 3).astype(np.float32)


def _noise(rng: Rng, rows: int, columns: int) -> np.ndarray:
    """Draw smooth noise float32 (64, 64), about -1 to 1, with `rows` grains down and `columns` across."""
    grains = rng.random((rows, columns), np.float32) * 2 - 1
    return cv2.resize(grains, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


def _tint(field: np.ndarray, low: tuple[int, int, int], high: tuple[int, int, int]) -> np.ndarray:
    """Return colours from `low` (field -1) to `high` (field 1): float32 (64, 64, 3)."""
    dark, bright = np.array(low, np.float32), np.array(high, np.float32)
    return (dark + bright) / 2 + field[..., None] * ((bright - dark) / 2)


def _water(rng: Rng) -> np.ndarray:
    ripples = np.sin(ROWS * rng.uniform(0.8, 1.3) + 2.5 * _noise(rng, 6, 6))
    return _tint(0.6 * ripples + 0.5 * _noise(rng, 20, 5), (18, 82, 128), (70, 158, 186))


def _rails(rng: Rng) -> np.ndarray:
    picture = _tint(_noise(rng, 40, 40), (84, 76, 72), (138, 126, 116))
    pitch, offset = rng.uniform(6.5, 9), rng.uniform(0, 9)
    picture[((COLUMNS + offset) % pitch < pitch * 0.42)] *= np.array((0.78, 0.56, 0.42), np.float32)
    gap = rng.integers(8, 12)
    steel = (ROWS.astype(int) + rng.integers(0, 20)) % (2 * gap)
    picture[(steel == 0) | (steel == gap - 4)] = (196, 200, 208)
    picture[(steel == 1) | (steel == gap - 3)] = (58, 54, 56)
    return picture


def _grass(rng: Rng) -> np.ndarray:
    return _tint(0.8 * _noise(rng, 14, 48) + 0.4 * _noise(rng, 5, 5), (44, 96, 34), (126, 176, 66))


def _sky(rng: Rng) -> np.ndarray:
    clouds = np.clip(1.6 * _noise(rng, 6, 4) + 0.3 * _noise(rng, 14, 10) - 0.2, -1, 1)
    slope = (ROWS / SIZE - 0.5)[..., None] * np.array((46, 30, 6), np.float32)
    return _tint(clouds, (108, 168, 226), (240, 246, 252)) + slope


def _road(rng: Rng) -> np.ndarray:
    picture = _tint(_noise(rng, 56, 56), (64, 66, 74), (94, 96, 104))
    lane, dash = rng.integers(0, 22), rng.integers(0, 16)
    picture[((ROWS + lane) % 22 < 2) & ((COLUMNS + dash) % 16 < 9)] = (226, 220, 196)
    return picture


def _snow(rng: Rng) -> np.ndarray:
    drifts = _tint(0.8 * _noise(rng, 7, 4) + 0.2 * _noise(rng, 30, 30), (196, 208, 230), (252, 253, 255))
    return drifts - 22 * (_noise(rng, 32, 32) > 0.85)[..., None]


def _sand(rng: Rng) -> np.ndarray:
    waves = np.sin(ROWS * 0.55 + COLUMNS * rng.uniform(-0.3, 0.3) + 3 * _noise(rng, 4, 4))
    return _tint(0.45 * waves + 0.5 * _noise(rng, 50, 50), (196, 162, 108), (238, 212, 160))


def _wall(rng: Rng) -> np.ndarray:
    course = np.floor((ROWS + rng.integers(0, 7)) / 7)
    brick = (COLUMNS + 7 * (course % 2) + rng.integers(0, 14)) % 14
    picture = _tint(0.6 * _noise(rng, 9, 5) + 0.4 * _noise(rng, 50, 50), (142, 74, 60), (186, 112, 92))
    picture[((ROWS + 7 - course * 7) % 7 < 1) | (brick < 1)] = (206, 190, 176)
    return picture


def _carpet(rng: Rng) -> np.ndarray:
    pitch = rng.uniform(9, 13)
    diamonds = np.cos((COLUMNS + ROWS) * 6.283 / pitch) * np.cos((COLUMNS - ROWS) * 6.283 / pitch)
    return _tint(np.clip(2 * diamonds, -1, 1) * 0.8 + 0.25 * _noise(rng, 50, 50), (92, 44, 108), (190, 138, 176))


TEXTURES = {draw.__name__[1:]: draw for draw in (_water, _rails, _grass, _sky, _road, _snow, _sand, _wall, _carpet)}
