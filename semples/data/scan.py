"""Read every image and mask of a data set once, write copies where they are needed, and say what is wrong."""

from collections.abc import Iterator
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from semples.config.settings import Data
from semples.data import images
from semples.data.images import IGNORE, read_image, read_mask
from semples.data.manifest import Classes, missing_splits, split_counts
from semples.errors import SemplesError
from semples.files import atomic_path

BLACK = "#000000"
DIFFERING = 4  # a data set is refused if one mask in so many shows none of the labels of its image


class Scan(NamedTuple):
    """What reading the files of one image gave."""

    row: dict[str, Any]
    """The importer's row with the image's width and height, and with the paths of copies."""
    colours: dict[int, str] | None = None
    """Colour in the palette, or "", of every index in the mask; None without a mask or without decoding."""
    error: SemplesError | None = None


def scan_images(table: pd.DataFrame, classes: Classes, data: Data, folder: Path, threads: int) -> Iterator[Scan]:
    """Yield the scan of every row of an importer's table, whose paths may be relative to `folder`.

    Copies in `folder` replace images above `data.max_side`, images of more than 8 bits if `data.white` says what is
    white, and masks whose values `data.masks` explains.
    """
    scan = partial(_scan, classes=classes, data=data, folder=folder)
    with ThreadPool(threads) as pool:
        scans = pool.imap(scan, table.to_dict("records"), chunksize=16)
        yield from tqdm(scans, total=len(table), desc="reading images", unit="image", mininterval=2)


def scanned_table(table: pd.DataFrame, scans: list[Scan]) -> pd.DataFrame:
    """Return the importer's table with sizes and copies, without the images that have an error."""
    columns = list(dict.fromkeys([*table.columns, "width", "height"]))
    return pd.DataFrame([scan.row for scan in scans if not scan.error], columns=columns)


def set_problems(table: pd.DataFrame, scans: list[Scan], classes: Classes, data: Data) -> Iterator[SemplesError]:
    """Yield what is wrong with the set as a whole; `scans` are those of the rows of the importer's table."""
    good = scanned_table(table, scans)
    yield from missing_splits(good, {"data.train": data.train, "data.val": data.val})
    if data.train in split_counts(good) and data.train not in split_counts(good[good["labels"] != ""]):
        problem, expected = f"split {data.train!r} without a label", "images with labels"
        yield SemplesError("data.train", problem, expected, "label some of its images, or correct the splits")
    masked = [(row, scan.colours) for row, scan in zip(table.to_dict("records"), scans, strict=True) if scan.colours]
    yield from _other_masks([pair for pair in masked if pair[0]["labels"]], classes)
    yield from _other_palettes(masked)


def _other_masks(masked: list[tuple[dict, dict[int, str]]], classes: Classes) -> Iterator[SemplesError]:
    """Yield a problem if many masks show something, but no label of their image: only void, or other classes."""
    names = dict(enumerate(classes.names, start=1))
    wrong = [(row, i) for row, i in masked if not {names.get(index) for index in i} & {*row["labels"].split(";")}]
    wrong = [(row, indices) for row, indices in wrong if set(indices) != {0}]
    is_void = all(set(indices) <= {0, IGNORE} for _, indices in wrong)
    if wrong and len(wrong) * DIFFERING >= len(masked) and (is_void or len(wrong) > 1):
        row, indices = wrong[0]
        problem = f"the values {sorted(indices)} and the labels {row['labels']!r}"
        problem += f"; {len(wrong)} of {len(masked)} masks show no label of their image"
        expected = f"0 background, 255 void, {', '.join(f'{index} {name}' for index, name in names.items())}"
        remedy = "correct the masks, or say in `data.masks` what their values mean"
        yield SemplesError(row["mask"], problem, expected, remedy)


def _other_palettes(masked: list[tuple[dict, dict[int, str]]]) -> Iterator[SemplesError]:
    """Yield a problem if two masks give an index two colours: an adaptive palette numbers each image anew."""
    first: dict[int, tuple[str, str]] = {}
    for row, colours in masked:
        if (other := colours.get(0, "")) and other != BLACK and BLACK in colours.values():
            problem, expected = f"index 0 is {other}, and another index is black", "background of index 0"
            yield SemplesError(row["mask"], problem, expected, "correct the masks, or set `data.masks: colours`")
            return
        for index, colour in colours.items():
            other, file = first.setdefault(index, (colour, row["mask"])) if colour else ("", "")
            if colour != other and index != IGNORE:
                problem = f"index {index} is {colour}, and {other} in {file}"
                remedy = "save all masks with one palette, or set `data.masks: colours`"
                yield SemplesError(row["mask"], problem, "an index of one colour in all masks", remedy)
                return


def _scan(row: dict[str, Any], classes: Classes, data: Data, folder: Path) -> Scan:
    image, mask, colours = folder / row["image"], folder / row["mask"] if row["mask"] else None, None
    means = data.masks if data.source in ("photos", "voc") else "indices"
    decodes = data.decode_check or data.unreadable == "left_out"
    try:
        size = images.image_size(image)
        longest = data.max_side or max(size)
        is_large = max(size) > longest
        pixels = read_image(image, data.white) if is_large or (data.white and images.is_deep(image)) else None
        if pixels is None and decodes:
            images.image_size(image, decodes, data.white)
        if row.get("width") and size != (row["width"], row["height"]):
            expected = f"{row['width']}x{row['height']}, as its annotation says"
            raise SemplesError(image, "{}x{} pixels".format(*size), expected, "restore the file")
        if mask and decodes and means == "indices":
            colours = images.mask_colours(mask, size)
        elif mask:
            images.require_size(mask, size)
        row, indices = row | dict(zip(("width", "height"), size, strict=True)), None
        if mask and (is_large or means != "indices"):
            indices = _class_indices(mask, row["labels"], classes, means)
            colours = colours if means == "indices" else dict.fromkeys(np.unique(indices).tolist(), "")
        if highest := max((index for index in colours or () if len(classes) < index < IGNORE), default=0):
            expected, remedy = f"0 to {len(classes)}, or 255", "redraw it, or say in `data.masks` what its values mean"
            raise SemplesError(mask, f"value {highest}", expected, remedy)
        if is_large and pixels is not None:
            pixels, indices = images.shrink(pixels, indices, longest)
        return Scan(row | _copies(row["id"], pixels, indices, classes.palette(), folder), colours)
    except SemplesError as error:
        return Scan(row, error=error)


def _copies(
    image: str, pixels: np.ndarray | None, indices: np.ndarray | None, palette: np.ndarray, folder: Path
) -> dict[str, Any]:
    """Write the pixels and the mask that an image needs as copies in `folder`; return the cells that change."""
    changes: dict[str, Any] = {}
    if pixels is not None:
        changes = {"image": f"copies/images/{image}.png", "width": pixels.shape[1], "height": pixels.shape[0]}
        images.write_image(folder / changes["image"], pixels)
    if indices is not None:
        changes["mask"] = f"copies/masks/{image}.png"
        with atomic_path(folder / changes["mask"]) as partial_file:
            images.write_mask(partial_file, indices, palette)
    return changes


def _class_indices(mask: Path, cell: str, classes: Classes, means: str) -> np.ndarray:
    """Return the class indices of a mask, uint8 (height, width), by what `data.masks` says its values mean."""
    if means in ("indices", "from_one"):
        indices = read_mask(mask)
        return indices if means == "indices" else np.where(indices == IGNORE, IGNORE, indices - np.uint8(1))
    pixels = read_image(mask)
    if means == "object":
        labels = [index for index, name in enumerate(classes.names, start=1) if name in cell.split(";")]
        bright = pixels.max(axis=2)
        if bright.any() and len(labels) != 1:
            problem, expected = f"{len(labels)} labels ({cell})", "one label, whose pixels the mask shows"
            raise SemplesError(mask, problem, expected, "redraw the mask as class indices, or correct the labels")
        return (bright > bright.max() / 2) * np.uint8(labels[0] if labels else 0)
    code, palette = np.array([1 << 16, 1 << 8, 1]), classes.palette()
    index_of = {int(palette[index] @ code): index for index in (IGNORE, *range(len(classes) + 1))}
    if len(index_of) < len(classes) + 2:
        problem, expected = "two classes of one colour, or of that of background or void", "a colour for every class"
        raise SemplesError("classes.csv", problem, expected, "correct the colours")
    values, positions = np.unique(pixels @ code, return_inverse=True)
    if unknown := set(values.tolist()) - set(index_of):
        expected = f"one of {', '.join(f'#{value:06x}' for value in index_of)}"
        raise SemplesError(mask, f"the colour #{min(unknown):06x}", expected, "correct the colours in classes.csv")
    return np.array([index_of[value] for value in values.tolist()], np.uint8)[positions].reshape(pixels.shape[:2])
