"""Read each image's size, report unreadable files, write downscaled copies."""

from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from semples.config.settings import Data
from semples.data.images import image_size, read_image, read_mask, require_size, shrink, write_image, write_mask
from semples.data.manifest import Classes
from semples.errors import SemplesError
from semples.files import atomic_path


def scan_images(
    table: pd.DataFrame, classes: Classes, data: Data, folder: Path, threads: int
) -> tuple[pd.DataFrame, list[SemplesError]]:
    """Add image sizes to an importer's table, and replace images above `data.max_side` by copies in `folder`.

    Args:
        table: Columns id, image, mask, split and labels; paths may be relative to `folder`.
    Returns:
        The table with the columns width and height, and the problems of the images that were left out.
    Raises:
        SemplesError: `data.unreadable` is `error`, and an image is unreadable or has another size than its mask.
    """
    scan, rows, problems = partial(_scan, classes=classes, data=data, folder=folder), [], []
    with ThreadPool(threads) as pool:
        results = pool.imap(scan, table.to_dict("records"), chunksize=16)
        for result in tqdm(results, total=len(table), desc="scanning images", unit="image", mininterval=2):
            if isinstance(result, dict):
                rows.append(result)
            elif data.unreadable == "error":
                raise result
            else:
                problems.append(result)
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*table.columns, "width", "height"]))), problems


def _scan(row: dict, classes: Classes, data: Data, folder: Path) -> dict | SemplesError:
    """Return the row with its image's size, or the problem of its files."""
    image, mask = folder / row["image"], folder / row["mask"] if row["mask"] else None
    try:
        size = image_size(image)
        if "width" in row and size != (row["width"], row["height"]):
            expected = f"{row['width']}x{row['height']}, as its annotation says"
            raise SemplesError(image, "{}x{} pixels".format(*size), expected, "restore the file")
        if mask:
            require_size(mask, size)
        if data.unreadable == "left_out":
            read_image(image)
            if mask:
                read_mask(mask)
        if data.max_side and max(size) > data.max_side:
            return row | _write_copies(row, image, mask, classes, data.max_side, folder)
    except SemplesError as error:
        return error
    return row | {"width": size[0], "height": size[1]}


def _write_copies(row: dict, image: Path, mask: Path | None, classes: Classes, longest: int, folder: Path) -> dict:
    """Write downscaled copies of an image and its mask into `folder`; return their paths and size."""
    small, small_mask = shrink(read_image(image), read_mask(mask) if mask else None, longest)
    changes = {"image": f"shrunk/images/{row['id']}.png", "width": small.shape[1], "height": small.shape[0]}
    write_image(folder / changes["image"], small)
    if small_mask is not None:
        changes["mask"] = f"shrunk/masks/{row['id']}.png"
        with atomic_path(folder / changes["mask"]) as partial_file:
            write_mask(partial_file, small_mask, classes.palette())
    return changes
