"""What a file of CAMs holds, in words."""

import json
from collections.abc import Iterator

import cv2
import numpy as np

from semples.data.cam_file import CamFile, ImageCams, as_text
from semples.errors import SemplesError
from semples.files import sha256

SHADES = " .:-=+*#%@"
TREE_IMAGES = 5


def overview(file: CamFile) -> Iterator[str]:
    """Tree, attributes, provenance and statistics of the whole file, a line each."""
    yield f"{file.path}  {file.path.stat().st_size / 1e6:.2f} MB"
    yield from _tree(file)
    yield "provenance"
    for name, text in file.provenance.items():
        yield f"  {name}: {_flat(text)}"
    yield "statistics"
    yield from _statistics(file)


def _tree(file: CamFile) -> Iterator[str]:
    attributes = ", ".join(f"{name}={as_text(value)}" for name, value in file.file.attrs.items())
    yield f"/  {attributes}"
    yield f"  classes  {len(file.class_names)}: {', '.join(file.class_names)}"
    yield f"  ids      {len(file.ids)}"
    for shard in file.shards:
        yield f"  shard    {shard.path.name}, {len(shard.ids)} images, sha256 {sha256(shard.path)[:16]}"
    for image in file.ids[:TREE_IMAGES]:
        maps = file.read(image)
        names = ", ".join(file.class_names[k] for k in maps.classes)
        yield f"  images/{image}  score {maps.score.shape} of {maps.height}x{maps.width} pixels: {names}"
    if len(file.ids) > TREE_IMAGES:
        yield f"  ... {len(file.ids) - TREE_IMAGES} more"


def _statistics(file: CamFile) -> Iterator[str]:
    """Maps, mean score and share of scores above a half, by class; one pass, one image in memory."""
    sums = np.zeros((len(file.class_names), 4))
    for image in file.ids:
        maps = file.read(image)
        for klass, score in zip(maps.classes, maps.score, strict=True):
            sums[klass] += 1, score.size, score.sum(dtype=float), (score > 0.5).sum()
    for name, (count, pixels, total, high) in zip(file.class_names, sums, strict=True):
        if count:
            yield f"  {name:>14}: {int(count)} maps, mean {total / pixels:.3f}, above 0.5 {100 * high / pixels:.1f} %"


def image_report(file: CamFile, image: str, klass: str | None) -> Iterator[str]:
    """The maps of one image, or the map of one class: range, mean and a preview in characters."""
    maps = file.read(image)
    yield f"{image}  {maps.width}x{maps.height} pixels, maps of {maps.score.shape[2]}x{maps.score.shape[1]}"
    for name, score in named_maps(file, maps, klass):
        yield f"{name}: {score.min():.3f} to {score.max():.3f}, mean {score.mean():.3f}"
        yield from preview(score)


def named_maps(file: CamFile, maps: ImageCams, klass: str | None) -> list[tuple[str, np.ndarray]]:
    """(class name, float map (h, w)) of an image, all or the one of a class."""
    found = [(file.class_names[k], score) for k, score in zip(maps.classes, maps.score, strict=True)]
    if klass is None:
        return found
    chosen = [pair for pair in found if pair[0] == klass]
    if not chosen:
        names = ", ".join(name for name, _ in found)
        raise SemplesError(file.path, f"no map of {klass!r} for this image", f"one of {names}", "correct --class")
    return chosen


def preview(score: np.ndarray, columns: int = 64) -> Iterator[str]:
    """A map, float (h, w) in [0, 1], in characters that are twice as high as wide; ten shades, blank is lowest."""
    height = max(1, round(score.shape[0] / score.shape[1] * columns / 2))
    small = cv2.resize(score, (columns, height), interpolation=cv2.INTER_AREA)
    for line in (small.clip(0, 1) * (len(SHADES) - 1)).round().astype(int):
        yield "  " + "".join(SHADES[shade] for shade in line)


def comparison(file: CamFile, other: CamFile, images: list[str]) -> Iterator[str]:
    """Where two files differ: settings, ids, and by image the largest difference of a score, the ten largest first."""
    for name in sorted(file.provenance.keys() | other.provenance.keys()):
        one, two = file.provenance.get(name, "nothing"), other.provenance.get(name, "nothing")
        if one != two:
            yield f"{name}: {_flat(one)}  |  {_flat(two)}"
    only = [image for image in images if image not in set(other.ids)]
    if only:
        yield f"{len(only)} images are not in {other.path}: {', '.join(only[:5])}"
    rows = [(_apart(file.read(image), other.read(image)), image) for image in images if image not in set(only)]
    yield f"{sum(apart == 0 for apart, _ in rows)} of {len(rows)} images in common have equal maps"
    for apart, image in sorted(rows, reverse=True)[:10]:
        if apart > 0:
            yield f"  {image}: largest difference {apart:.4f}"


def _apart(one: ImageCams, other: ImageCams) -> float:
    """Largest difference of a score at the image's size; 1 where the classes differ."""
    if not np.array_equal(one.classes, other.classes) or (one.height, one.width) != (other.height, other.width):
        return 1.0
    same = one.score.shape == other.score.shape
    maps = (one.score, other.score) if same else (one.full_size(), other.full_size())
    return float(np.abs(maps[0] - maps[1]).max())


def _flat(text: str) -> str:
    """JSON settings as `section.key: value` words, other text as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if not isinstance(value, dict):
        return text
    return "; ".join(
        f"{section}: {', '.join(f'{key} {item}' for key, item in keys.items())}" if isinstance(keys, dict) else keys
        for section, keys in value.items()
    )
