"""Masks as PNG: the layout of PASCAL VOC, and the zip "Segmentation mask 1.1" of CVAT."""

from collections import defaultdict
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
from PIL import Image

from semples.data.exporters.regions import MaskedImage, regions, without_specks
from semples.data.images import voc_palette, write_mask
from semples.data.manifest import Classes

LISTS = Path("ImageSets", "Segmentation")


def write(folder: Path, images: Iterable[MaskedImage], classes: Classes, least_area: int) -> int:
    """Write `SegmentationClass/<id>.png` with a palette, lists of the splits, and `labels.txt`; return the images.

    labels.txt has the names in the order of the masks' values, background first; 255 is void.
    """
    names = defaultdict(list)
    for image in images:
        path = _made(folder / "SegmentationClass" / f"{image.id}.png")
        write_mask(path, without_specks(image.mask, least_area), classes.palette())
        for split in {*image.split.split(";"), "all"} - {""}:
            names[split].append(image.id)
    for split, ids in names.items():
        _made(folder / LISTS / f"{split}.txt").write_text("".join(f"{name}\n" for name in ids))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in ("background", *classes.names)))
    return len(names["all"])


def write_cvat(folder: Path, images: Iterable[MaskedImage], classes: Classes, least_area: int) -> int:
    """Write `masks.zip`, which CVAT imports as "Segmentation mask 1.1"; return the number of objects.

    Its masks are RGB: `SegmentationClass` has the colours of `labelmap.txt`, `SegmentationObject` a colour for every
    connected region. CVAT has no void, which becomes background.
    """
    palette, colours, ids, count = classes.palette(), voc_palette()[1:], [], 0
    with ZipFile(folder / "masks.zip", "w") as archive:
        for image in images:
            mask, objects = np.zeros_like(image.mask), np.zeros((*image.mask.shape, 3), np.uint8)
            for number, region in enumerate(regions(image.mask, least_area)):
                region.paint(mask, region.klass + 1)
                region.paint(objects, colours[number % len(colours)])
                count += 1
            for name, picture in (("SegmentationClass", palette[mask]), ("SegmentationObject", objects)):
                Image.fromarray(picture).save(content := BytesIO(), format="PNG")
                archive.writestr(ZipInfo(f"{name}/{image.id}.png"), content.getvalue())
            ids.append(image.id)
        rows = [("background", (0, 0, 0)), *zip(classes.names, palette[1:].tolist(), strict=False)]
        lines = [f"{name}:{','.join(map(str, colour))}::\n" for name, colour in rows]
        archive.writestr(ZipInfo("labelmap.txt"), "".join(["# label:color_rgb:parts:actions\n", *lines]))
        archive.writestr(ZipInfo(f"{LISTS.as_posix()}/default.txt"), "".join(f"{name}\n" for name in ids))
    return count


def _made(path: Path) -> Path:
    """Return a path whose folder exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
