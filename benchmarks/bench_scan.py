"""The full decoding of the stage `data` for a manifest of 10,000 photographs with their masks; few files are repeated.
*Plain* opens every file with Pillow and decodes it, with as many threads. *Ours* also applies orientation, compares
sizes, counts the indices of masks and reads their palettes."""

from multiprocessing.pool import ThreadPool

import pandas as pd
from PIL import Image

from benchmarks.frame import Inputs, Row, seconds
from semples.config.settings import Data
from semples.data.scan import Scan, scan_images

PHOTOGRAPHS = 10_000


def rows(inputs: Inputs) -> list[Row]:
    """Measure photographs a second."""
    images = inputs.images()
    repeats = -(-PHOTOGRAPHS // len(images))
    table = pd.concat([images.table] * repeats, ignore_index=True).head(PHOTOGRAPHS)
    scans: list[Scan] = []
    data = Data(decode_check=True)
    ours = seconds(lambda: scans.extend(scan_images(table, images.classes, data, inputs.folder, inputs.threads)))
    if errors := [scan.error for scan in scans if scan.error]:
        raise errors[0]
    with ThreadPool(inputs.threads) as pool:
        files = [path for row in table.itertuples() for path in (row.image, row.mask) if path]
        plain = seconds(lambda: pool.map(_decode, files, chunksize=16))
    equal = [(scan.row["width"], scan.row["height"]) for scan in scans] == [
        *zip(table["width"], table["height"], strict=True)
    ]
    agreement = f"{len(files)} files, all sizes {'equal' if equal else 'differ'}"
    rates = len(table) / plain, len(table) / ours
    return [
        Row(
            "scan", f"photographs a second, {len(images)} files repeated", *rates, "1/s", plain / ours, agreement, "cpu"
        )
    ]


def _decode(path: str) -> None:
    with Image.open(path) as image:
        image.load()
