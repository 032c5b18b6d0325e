"""predict: write masks, overlays and class areas of photographs by a trained segmentation network."""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm import tqdm

from semples.config.settings import Run
from semples.data.csv_file import write_csv
from semples.data.images import finished_mask, read_image, write_mask
from semples.data.importers.folders import IMAGE_SUFFIXES, UNREAD_SUFFIXES, walk
from semples.data.importers.listing import image_ids
from semples.errors import SemplesError, fault
from semples.files import MARKS, atomic_path, digest, remove_leftovers, sha256, written_here
from semples.inference.segmentation import Predictor


def run(checkpoint: Path, run: Run, photos: Sequence[Path], max_side: int, scales: Sequence[float], out: Path) -> None:
    """Write the folder `out`: masks/<name>.png, overlays/<name>.png, and areas.csv with a line per class of a mask.

    Each mask is written as it is done. A mask that is there, of the same photograph, checkpoint and settings, is not
    computed again. areas.csv has the columns image, class, pixels and share (of the image, in [0, 1]).

    Args:
        photos: Files, and folders that are searched for photographs.
        max_side, scales: As of `Predictor`; masks have the full size.
    Raises:
        SemplesError: Photographs could not be read; all others have their masks.
    """
    torch.set_num_threads(run.threads)
    paths = _photographs(photos)
    predictor = Predictor(checkpoint, run.device, max_side, scales)
    print(f"{len(paths)} photographs; classes {', '.join(predictor.classes)}")
    how = [sha256(checkpoint), predictor.settings.model_dump(mode="json"), max_side]
    rows: list[list] = []
    failures, finished = [], 0
    for name, path in tqdm(paths.items(), desc="predict", unit="photo", mininterval=2):
        try:
            made_from = digest([how, sha256(path)])
            mask, photo = _mask(predictor, path, out / "masks" / f"{name}.png", made_from)
        except Exception as error:
            clear = error if isinstance(error, SemplesError) else fault(error, path)
            if clear is None or str(clear.args[0]) != str(path):  # it would end every other photograph as well
                raise
            failures.append(f"{path}: {clear.args[1]}")
            continue
        finished += photo is None
        if photo is not None:
            with _part(out, f"overlays/{name}.png") as partial:
                Image.fromarray(overlay(photo, mask, predictor.shown_palette)).save(partial, format="PNG")
            with _part(out, f"masks/{name}.png") as partial:  # last: a mask that is there has its overlay
                write_mask(partial, mask, predictor.palette, made_from)
        areas = zip(*np.unique(mask, return_counts=True), strict=True)
        rows += [[name, predictor.classes[k], int(n), round(n / mask.size, 6)] for k, n in areas]
    if rows:
        with _part(out, "areas.csv") as partial:
            write_csv(partial, pd.DataFrame(rows, columns=["image", "class", "pixels", "share"]))
    masks = {str(path.relative_to(out / "masks").with_suffix("")) for path in (out / "masks").rglob("[!.]*.png")}
    if stale := sorted(masks - set(paths)):
        print(f"{len(stale)} masks of other photographs stay in {out / 'masks'}, such as {stale[0]}.png")
    print(f"{len(paths) - len(failures)} photographs, {finished} of them done before: {out}")
    if failures:
        problem = "\n            ".join(failures)
        remedy = "restore or convert them, and start again: the others are done"
        raise SemplesError(f"{len(failures)} of {len(paths)} photographs", problem, "images that can be read", remedy)


def _mask(predictor: Predictor, path: Path, file: Path, made_from: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the mask of a photograph, and the photograph; None where the mask is in the file already."""
    if (mask := finished_mask(file, made_from)) is not None:
        return mask, None
    photo = read_image(path)
    return predictor.predict(photo), photo


def _part(out: Path, name: str) -> AbstractContextManager[Path]:
    remove_leftovers(out / name)
    return atomic_path(out / name, inside=out)


def overlay(photo: np.ndarray, mask: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return an RGB photograph whose objects are half in their class's colour of the palette, inside a white line."""
    coloured = np.where((mask > 0)[..., None], (0.5 * photo + 0.5 * palette[mask]).astype(np.uint8), photo)
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    coloured[edge] = 255
    return coloured


def _photographs(sources: Sequence[Path]) -> dict[str, Path]:
    """Return paths by output name; print what is left out of the folders."""
    files: list[tuple[Path, Path]] = []  # name and path
    left_out: Counter[str] = Counter()
    for source in sources:
        if not source.exists():
            raise SemplesError(source, "no such file or folder", "photographs, or folders of them", "correct the path")
        if not source.is_dir():
            files.append((Path(source.name), source))
            continue
        visible, _, hidden = walk(source)
        names = [name for name in visible if name.suffix.lower() in IMAGE_SUFFIXES | UNREAD_SUFFIXES]
        own = {name for name in names if written_here(source / name, source)}
        files += [(name, source / name) for name in names if name not in own]
        hidden = [name for name in hidden if name.name != MARKS]
        left_out.update({"written by semples": len(own), "hidden files and folders": len(hidden)})
        left_out.update(name.suffix or name.name for name in {*visible} - {*names})
    if reasons := [f"{count} {reason}" for reason, count in left_out.items() if count]:
        print(f"left out: {', '.join(reasons)}")
    if not files:
        raise SemplesError(sources[0], "no photograph", f"files {' '.join(sorted(IMAGE_SUFFIXES))}", "correct the path")
    paths = dict(zip(image_ids([name for name, _ in files]), [path for _, path in files], strict=True))
    if len(paths) < len(files):
        expected, remedy = "different names", "predict the folders one by one"
        raise SemplesError("photographs", "the same name in two folders", expected, remedy)
    return paths
