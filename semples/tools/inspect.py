"""inspect: print what a file of CAMs holds, compare it with another file, draw the maps of an image."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from semples.data.cam_file import CamFile, ImageCams, as_text
from semples.data.images import heat_overlay, read_image, resize_map
from semples.data.manifest import read_manifest
from semples.errors import SemplesError
from semples.files import sha256
from semples.planning.layout import manifest_of

SHADES = " .:-=+*#%@"
LISTED_IMAGES = 5  # images of the tree
PREVIEW_COLUMNS = 64


def run(
    file: Path,
    image: str | None,
    class_name: str | None,
    save: Path | None,
    compare: Path | None,
    manifest: Path | None,
) -> None:
    """Print the tree and statistics of a file of CAMs, or the maps of one image.

    Args:
        image: Print the maps of this image, or only that of `class_name`.
        save: PNG to write, with a PDF beside it: the photograph of `image`, then each map over it.
        compare: Another file of CAMs; print where it differs, and draw its maps in a second row.
        manifest: manifest.csv with the photograph; None for that of the run that `file` belongs to.
    Raises:
        SemplesError: The image or class is not in the file, or `save` names no image.
    """
    if save and not image:
        raise SemplesError("--save", "no image to draw", "--image ID", "name one of the file's ids")
    with ExitStack() as stack:
        files = [stack.enter_context(CamFile(path)) for path in (file, compare) if path]
        cams = files[0]
        print("\n".join(_image_report(cams, image, class_name) if image else _overview(cams)))
        for other in files[1:]:
            other.require_classes(cams.class_names)
            print("\n".join(_comparison(cams, other, [image] if image else cams.ids)))
        if image and save:
            _save_overlay(files, image, class_name, manifest or manifest_of(file), save)


def _overview(cams: CamFile) -> Iterator[str]:
    """Yield the tree, the provenance and the statistics of a file, line by line."""
    yield f"{cams.path}  {cams.path.stat().st_size / 1e6:.2f} MB"
    yield f"/  {', '.join(f'{name}={as_text(value)}' for name, value in cams.file.attrs.items())}"
    yield f"  classes  {len(cams.class_names)}: {', '.join(cams.class_names)}"
    yield f"  ids      {len(cams.ids)}"
    for shard in cams.shards:
        yield f"  shard    {shard.path.name}, {len(shard.ids)} images, sha256 {sha256(shard.path)[:16]}"
    for image in cams.ids[:LISTED_IMAGES]:
        maps = cams.read(image)
        names = ", ".join(cams.class_names[k] for k in maps.classes)
        yield f"  images/{image}  score {maps.score.shape} of {maps.height}x{maps.width} pixels: {names}"
    if len(cams.ids) > LISTED_IMAGES:
        yield f"  ... {len(cams.ids) - LISTED_IMAGES} more"
    yield "provenance"
    yield from (f"  {name}: {_in_one_line(text)}" for name, text in cams.provenance.items())
    yield "statistics"
    yield from _statistics(cams)


def _statistics(cams: CamFile) -> Iterator[str]:
    """Yield the number of maps, mean score and share of scores above 0.5 per class; one image in memory at a time."""
    sums = np.zeros((len(cams.class_names), 4))
    for image in cams.ids:
        maps = cams.read(image)
        for klass, score in zip(maps.classes, maps.score, strict=True):
            sums[klass] += 1, score.size, score.sum(dtype=float), (score > 0.5).sum()
    for name, (count, pixels, total, high) in zip(cams.class_names, sums, strict=True):
        if count:
            yield f"  {name:>14}: {int(count)} maps, mean {total / pixels:.3f}, above 0.5 {100 * high / pixels:.1f} %"


def _image_report(cams: CamFile, image: str, class_name: str | None) -> Iterator[str]:
    """Yield size, range, mean and a preview in characters of the maps of one image."""
    maps = cams.read(image)
    yield f"{image}  {maps.width}x{maps.height} pixels, maps of {maps.score.shape[2]}x{maps.score.shape[1]}"
    for name, score in _named_maps(cams, maps, class_name).items():
        yield f"{name}: {score.min():.3f} to {score.max():.3f}, mean {score.mean():.3f}"
        height = max(1, round(score.shape[0] / score.shape[1] * PREVIEW_COLUMNS / 2))  # characters are twice as high
        small = cv2.resize(score, (PREVIEW_COLUMNS, height), interpolation=cv2.INTER_AREA)
        for row in (small.clip(0, 1) * (len(SHADES) - 1)).round().astype(int):
            yield "  " + "".join(SHADES[shade] for shade in row)


def _named_maps(cams: CamFile, maps: ImageCams, class_name: str | None) -> dict[str, np.ndarray]:
    """Return the float maps (h, w) of an image by class name, of all its classes or one."""
    scores = {cams.class_names[k]: score for k, score in zip(maps.classes, maps.score, strict=True)}
    if class_name is None:
        return scores
    if class_name not in scores:
        expected = f"one of {', '.join(scores)}"
        raise SemplesError(cams.path, f"no map of {class_name!r} for this image", expected, "correct --class")
    return {class_name: scores[class_name]}


def _comparison(cams: CamFile, other: CamFile, images: list[str]) -> Iterator[str]:
    """Yield the differences of two files: provenance, ids, and the ten images whose scores differ most."""
    for name in sorted(cams.provenance.keys() | other.provenance.keys()):
        texts = [file.provenance.get(name, "nothing") for file in (cams, other)]
        if texts[0] != texts[1]:
            yield f"{name}: {'  |  '.join(map(_in_one_line, texts))}"
    known = set(other.ids)
    if missing := [image for image in images if image not in known]:
        yield f"{len(missing)} images are not in {other.path}: {', '.join(missing[:5])}"
    rows = [(_largest_difference(cams.read(image), other.read(image)), image) for image in images if image in known]
    yield f"{sum(difference == 0 for difference, _ in rows)} of {len(rows)} images in common have equal maps"
    for difference, image in sorted(rows, reverse=True)[:10]:
        if difference > 0:
            yield f"  {image}: largest difference {difference:.4f}"


def _largest_difference(maps: ImageCams, other: ImageCams) -> float:
    """Return the largest difference of a score at the image's size; 1 where the classes differ."""
    if not np.array_equal(maps.classes, other.classes) or (maps.height, maps.width) != (other.height, other.width):
        return 1.0
    if maps.score.shape == other.score.shape:
        return float(np.abs(maps.score - other.score).max())
    return float(np.abs(maps.full_size() - other.full_size()).max())


def _in_one_line(text: str) -> str:
    """Return JSON settings as `section: key value, ...`, and other text as it is."""
    try:
        sections = [(name, keys.items()) for name, keys in json.loads(text).items()]
    except (ValueError, AttributeError):
        return text
    return "; ".join(f"{name}: {', '.join(f'{key} {value}' for key, value in keys)}" for name, keys in sections)


def _save_overlay(files: list[CamFile], image: str, class_name: str | None, manifest: Path, out: Path) -> None:
    """Write a PNG and a PDF with a row per file: the photograph, then each map of the image over it."""
    from semples.figure_style import save_grid  # imported late: it needs matplotlib

    rows = read_manifest(manifest).table
    rows = rows[rows["id"] == image]
    if rows.empty:
        raise SemplesError(manifest, f"no image {image!r}", "the manifest of these CAMs", "correct --manifest")
    photo = read_image(rows["image"].iloc[0])
    grid = []
    for cams in files:
        maps = _named_maps(cams, cams.read(image), class_name)
        heats = {name: heat_overlay(photo, resize_map(m[None], *photo.shape[:2])[0]) for name, m in maps.items()}
        grid.append({"photograph": photo} | heats)
    save_grid(grid, out)
