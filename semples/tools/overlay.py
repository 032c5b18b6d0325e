"""An image's maps as heat over its photograph."""

from pathlib import Path

from semples.data.cam_file import CamFile
from semples.data.images import heat_overlay, read_image, resize_map
from semples.data.manifest import read_manifest
from semples.errors import SemplesError
from semples.figure_style import save_grid
from semples.tools.inspect import named_maps


def save(file: CamFile, other: CamFile | None, image: str, klass: str | None, manifest: Path, out: Path) -> None:
    """Write the PNG `out` and a PDF: the photograph, then each map over it; a second row shows those of `other`."""
    rows = read_manifest(manifest).table
    rows = rows[rows["id"] == image]
    if rows.empty:
        raise SemplesError(manifest, f"no image {image!r}", "the manifest the CAMs were made of", "correct --manifest")
    photo = read_image(rows["image"].iloc[0])
    lines = []
    for store in filter(None, (file, other)):
        maps = named_maps(store, store.read(image), klass)
        heats = {name: heat_overlay(photo, resize_map(score[None], *photo.shape[:2])[0]) for name, score in maps}
        lines.append({"photograph": photo} | heats)
    save_grid(lines, out)
