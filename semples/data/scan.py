"""Looking at the files of a data set: their sizes, which of them cannot be read, smaller copies of large ones."""

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
    """`table` with the columns width and height, and what was left out; paths may be relative to `folder`.

    An image that cannot be read, or whose mask has another size, is an error or is left out, as `data.unreadable`
    says. Of photographs larger than `data.max_side` the table names copies in `folder`.
    """
    look = partial(_look, classes=classes, data=data, folder=folder)
    seen, problems = [], []
    with ThreadPool(threads) as pool:
        for found in tqdm(
            pool.imap(look, table.to_dict("records"), chunksize=16),
            total=len(table),
            desc="looking at images",
            unit="image",
            mininterval=2,
        ):
            if isinstance(found, dict):
                seen.append(found)
            elif data.unreadable == "error":
                raise found
            else:
                problems.append(found)
    return pd.DataFrame(seen, columns=list(dict.fromkeys([*table.columns, "width", "height"]))), problems


def _look(row: dict, classes: Classes, data: Data, folder: Path) -> dict | SemplesError:
    """The row with its image's size, or what is wrong with its files."""
    image, mask = folder / row["image"], folder / row["mask"] if row["mask"] else None
    try:
        size = image_size(image)
        if "width" in row and size != (row["width"], row["height"]):
            raise SemplesError(
                image,
                "{}x{} pixels".format(*size),
                f"{row['width']}x{row['height']}, as its annotation says",
                "restore the file",
            )
        if mask:
            require_size(mask, size)
        if data.unreadable == "left_out":
            read_image(image)
            if mask:
                read_mask(mask)
        if data.max_side and max(size) > data.max_side:
            return row | _copies(row, image, mask, classes, data.max_side, folder)
    except SemplesError as error:
        return error
    return row | {"width": size[0], "height": size[1]}


def _copies(row: dict, image: Path, mask: Path | None, classes: Classes, longest: int, folder: Path) -> dict:
    """Write shrunk copies of an image and its mask into `folder`; their paths and size."""
    photo, truth = shrink(read_image(image), read_mask(mask) if mask else None, longest)
    changes = {"image": f"shrunk/images/{row['id']}.png", "width": photo.shape[1], "height": photo.shape[0]}
    write_image(folder / changes["image"], photo)
    if truth is not None:
        changes["mask"] = f"shrunk/masks/{row['id']}.png"
        with atomic_path(folder / changes["mask"]) as partial_file:
            write_mask(partial_file, truth, classes.palette())
    return changes
