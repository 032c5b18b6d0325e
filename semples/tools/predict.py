"""predict: write masks, overlays and class areas of photographs by a trained segmentation network."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from semples.config.settings import Run
from semples.data.csv_file import write_csv
from semples.data.images import image_size, read_image, write_image, write_mask
from semples.data.importers.listing import image_files, image_ids
from semples.errors import SemplesError
from semples.files import atomic_path
from semples.inference.segmentation import Predictor


def run(checkpoint: Path, run: Run, photos: Sequence[Path], max_side: int, scales: Sequence[float], out: Path) -> None:
    """Write the folder `out`: masks/<name>.png, overlays/<name>.png, and areas.csv with a line per class of a mask.

    areas.csv has the columns image, class, pixels and share (of the image, in [0, 1]).

    Args:
        photos: Files, and folders that are searched for photographs.
        max_side, scales: As of `Predictor`; masks have the full size.
    """
    torch.set_num_threads(run.threads)
    paths = _photographs(photos)
    predictor = Predictor(checkpoint, run.device, max_side, scales)
    rows: list[list] = []
    with atomic_path(out) as folder:
        for name, path in tqdm(paths.items(), desc="predict", unit="photo", mininterval=2):
            photo = read_image(path)
            mask = predictor.predict(photo)
            (folder / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
            write_mask(folder / "masks" / f"{name}.png", mask, predictor.palette)
            write_image(folder / "overlays" / f"{name}.png", overlay(photo, mask, predictor.palette))
            areas = zip(*np.unique(mask, return_counts=True), strict=True)
            rows += [[name, predictor.classes[k], int(n), round(n / mask.size, 6)] for k, n in areas]
        write_csv(folder / "areas.csv", pd.DataFrame(rows, columns=["image", "class", "pixels", "share"]))
    print(f"{len(paths)} photographs: {out}")


def overlay(photo: np.ndarray, mask: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return an RGB photograph whose objects are half in their class's colour of the palette, inside a white line."""
    coloured = np.where((mask > 0)[..., None], (0.5 * photo + 0.5 * palette[mask]).astype(np.uint8), photo)
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    coloured[edge] = 255
    return coloured


def _photographs(sources: Sequence[Path]) -> dict[str, Path]:
    """Return paths by output name, after reading the header of each, so that a bad file is an error now."""
    files: list[tuple[Path, Path]] = []  # name and path
    for source in sources:
        if not source.exists():
            raise SemplesError(source, "no such file or folder", "photographs, or folders of them", "correct the path")
        names = sorted(image_files(source)) if source.is_dir() else [Path(source.name)]
        files += [(name, source / name if source.is_dir() else source) for name in names]
    if not files:
        raise SemplesError(sources[0], "no photograph", "JPEG, PNG, WebP, TIFF or BMP files", "correct the path")
    for _, path in files:
        image_size(path)
    paths = dict(zip(image_ids([name for name, _ in files]), [path for _, path in files], strict=True))
    if len(paths) < len(files):
        expected, remedy = "different names", "predict the folders one by one"
        raise SemplesError("photographs", "the same name in two folders", expected, remedy)
    return paths
