"""predict: masks, overlays and areas of photographs, by a trained segmentation network."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from semples.config.settings import Run
from semples.data.images import image_size, read_image, shrink, write_image, write_mask
from semples.data.importers.listing import image_files, image_ids
from semples.data.manifest import Classes
from semples.errors import SemplesError
from semples.files import atomic_path
from semples.inference.segmentation import load_segmenter, predict_masks
from semples.runtime.devices import make_fabric

COLUMNS = ["image", "class", "pixels", "share"]


def run(checkpoint: Path, run: Run, photos: Sequence[Path], max_side: int, scales: Sequence[float], out: Path) -> None:
    """Write the folder `out`: masks/<name>.png, overlays/<name>.png and areas.csv, a line for every class found.

    `photos` are files and folders, which are searched. The network sees a photograph whose longer side is above
    `max_side` pixels at that size; its mask has the photograph's own. `scales` replace those of the training settings
    where there are any. The columns of areas.csv are image, class, pixels and share (of the image, in [0, 1]).
    """
    torch.set_num_threads(run.threads)
    found = _photographs(photos)
    trained = load_segmenter(checkpoint)
    chosen = trained.settings.model_copy(update={"test_scales": list(scales)} if scales else {})
    fabric = make_fabric(run.device, "auto")
    network = fabric.setup_module(trained.network)
    rows = []
    with atomic_path(out) as folder:
        for name, path in tqdm(found.items(), desc="predict", unit="photo", mininterval=2):
            photo = read_image(path)
            small = shrink(photo, None, max_side)[0] if max(photo.shape) > max_side else photo
            (mask,) = predict_masks(network, [small], chosen, fabric.device)
            mask = cv2.resize(mask, photo.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            _write(folder, name, photo, mask, trained.classes)
            rows += _areas(name, mask, trained.classes)
        pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "areas.csv", index=False)
    print(f"{len(found)} photographs: {out}")


def overlay(photo: np.ndarray, mask: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The photograph, uint8 (height, width, 3), with its objects in their colours, half of each, under a white line."""
    coloured = np.where((mask > 0)[..., None], (0.5 * photo + 0.5 * palette[mask]).astype(np.uint8), photo)
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    coloured[edge] = 255
    return coloured


def _photographs(given: Sequence[Path]) -> dict[str, Path]:
    """Paths by the names of their outputs; every file's header is read now, not after an hour."""
    found = []
    for path in given:
        if not path.exists():
            raise SemplesError(path, "no such file or folder", "a photograph, or a folder of some", "correct the path")
        inside = sorted(image_files(path)) if path.is_dir() else [Path(path.name)]
        found += [(name, path / name if path.is_dir() else path) for name in inside]
    if not found:
        raise SemplesError(given[0], "no photograph", "JPEG, PNG, WebP, TIFF or BMP files", "name another folder")
    for _, path in found:
        image_size(path)
    named = dict(zip(image_ids([name for name, _ in found]), [path for _, path in found], strict=True))
    if len(named) < len(found):
        raise SemplesError("photographs", "two of one name in two folders", "one a name", "predict them one by one")
    return named


def _write(folder: Path, name: str, photo: np.ndarray, mask: np.ndarray, classes: Classes) -> None:
    palette, path = classes.palette(), folder / "masks" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, mask, palette)
    write_image(folder / "overlays" / f"{name}.png", overlay(photo, mask, palette))


def _areas(name: str, mask: np.ndarray, classes: Classes) -> list[list]:
    """Lines of areas.csv: the classes in the mask, background first."""
    names = ("background", *classes.names)
    found = zip(*np.unique(mask, return_counts=True), strict=True)
    return [[name, names[index], int(pixels), round(pixels / mask.size, 6)] for index, pixels in found]
