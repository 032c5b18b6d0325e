"""Panels of images: under all variants, at the stages of the method, and of the best and worst CAMs."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from semples.config.settings import Settings
from semples.data.cam_file import CamFile
from semples.data.csv_file import WORDS, read_csv
from semples.data.images import colour_mask, heat_overlay, read_image, read_mask
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.evaluation.metrics import confusion_matrix, iou, pseudo_mask
from semples.figure_style import PAGE, save_figure, save_grid, show_image, small_multiples, wrap_title

Titled = list[tuple[str, Path]]  # title or variant, and its HDF5 file of CAMs or its folder of PNG masks
_WORDS = 3  # of the prompt, in the framework's title


def run_panel(settings: Settings, manifest: Path, split: str, cams: Titled, masks: Titled, out: Path) -> None:
    """Draw a row per image: image, ground truth where any image has it, a heat map per file of CAMs, the masks.

    The images are a random sample, by the seed of the settings, of the labelled ones; a heat map shows the first class.
    """
    images = _sample(settings, manifest, split)
    rows = [_row(images, row, cams, masks) for row in range(len(images))]
    save_grid(rows, out, [_first_class(images, row) for row in range(len(images))])


def run_comparison(settings: Settings, manifest: Path, split: str, cams: Titled, threshold: float, out: Path) -> None:
    """Draw the CAMs of all variants on random, best and worst images, a third each; all random without ground truth.

    Args:
        cams: The last variant ranks the images.
        threshold: Background threshold of the mean IoU over an image's classes, background left out, that ranks.
    """
    images = read_manifest(manifest).split(split).with_labels()
    third = -(-settings.figures.images // 3)
    scores = _scores(images, cams[-1][1], threshold).sort_values(ascending=False, kind="stable")
    random = images.sample(third if len(scores) else settings.figures.images, settings.figures.seed)
    selection = {"random": random.table["id"], "best": scores.index[:third], "worst": scores.index[-third:]}
    index = {image: row for row, image in enumerate(images.table["id"])}
    rows, names = [], []
    for rule, image in ((rule, image) for rule, ids in selection.items() for image in ids):
        rows.append(_row(images, index[image], cams, []))
        score = f", IoU {100 * scores[image]:.0f}" if image in scores else ""
        names.append(f"{rule}{score}\n{_first_class(images, index[image])}")
    save_grid(rows, out, names)


def run_framework(
    settings: Settings, manifest: Path, split: str, cams: Titled, masks: Titled, words: Path, out: Path
) -> None:
    """Draw the stages of the method for the first class of a panel's first image.

    Args:
        cams: In the order of the stages; the one named slm shows the background for the prompt.
        words: words.csv of the prompt.
    """
    images = _sample(settings, manifest, split)
    image, name, palette = images.table.iloc[0], _first_class(images, 0), images.classes.shown_palette()
    photograph = read_image(Path(image["image"]))
    tiles = {f"image, labelled {image['labels'].replace(';', ', ')}": photograph}
    for stage, path in cams:
        score = _first_map(path, image["id"])
        tiles[f"{stage}: map of {name}"] = heat_overlay(photograph, score)
        if stage == "slm":
            frame = read_csv(words, "cpl", *WORDS)
            nearest = frame[(frame["class"] == name) & (frame["list"] == "nearest")]["word"].head(_WORDS)
            background = photograph * (1 - score[..., None]) + 128 * score[..., None]
            tiles[f"cpl: the prompt learns the background: {', '.join(nearest)}"] = background.astype(np.uint8)
    tiles |= _coloured(masks, image["id"], palette)
    if image["mask"]:
        tiles["ground truth (for evaluation only)"] = colour_mask(read_mask(image["mask"]), palette)
    _draw_tiles(tiles, out)


def _draw_tiles(tiles: dict[str, np.ndarray], out: Path) -> None:
    columns = -(-len(tiles) // 2)
    height, width = next(iter(tiles.values())).shape[:2]
    side = PAGE / columns
    figure, axes = small_multiples(len(tiles), columns, height=side * height / width + 0.45)
    figure.set_figwidth(PAGE)
    for number, (axis, (title, picture)) in enumerate(zip(axes, tiles.items(), strict=True), start=1):
        show_image(axis, picture)
        axis.set_title(wrap_title(f"{number}  {title}", side), fontsize=7, loc="left")
    save_figure(figure, out)


def _sample(settings: Settings, manifest: Path, split: str) -> Manifest:
    images = read_manifest(manifest).split(split).with_labels()
    return images.sample(settings.figures.images, settings.figures.seed)


def _first_class(images: Manifest, row: int) -> str:
    """Return the class that an image's heat maps show, the first in the order of the classes."""
    return images.classes.names[int(images.label_matrix()[row].argmax())]


def _first_map(path: Path, image: str) -> np.ndarray:
    with CamFile(path) as file:
        return file.read(image).full_size()[0]


def _scores(images: Manifest, cams: Path, threshold: float) -> pd.Series:
    """Return the mean IoU over the classes, background left out, of every image with ground truth, by its id."""
    rows: list[Any] = list(images.with_masks().table.itertuples())
    scores = {}
    with CamFile(cams) as file:
        for row in tqdm(rows, desc="ranking", unit="image", mininterval=2):
            maps = file.read(row.id)
            mask = pseudo_mask(maps.full_size(), maps.classes, threshold)
            values = iou(confusion_matrix(read_mask(row.mask), mask, len(images.classes)))[1:]
            if np.isfinite(values).any():
                scores[row.id] = float(np.nanmean(values))
    return pd.Series(scores, dtype=float)


def _row(images: Manifest, row: int, cams: Titled, masks: Titled) -> dict[str, np.ndarray]:
    image, palette = images.table.iloc[row], images.classes.shown_palette()
    photograph = read_image(Path(image["image"]))
    pictures = {"image": photograph}
    if (images.table["mask"] != "").any():
        white = np.full_like(photograph, 255)
        pictures["ground truth"] = colour_mask(read_mask(image["mask"]), palette) if image["mask"] else white
    pictures |= {title: heat_overlay(photograph, _first_map(path, image["id"])) for title, path in cams}
    return pictures | _coloured(masks, image["id"], palette)


def _coloured(masks: Titled, image: str, palette: np.ndarray) -> dict[str, np.ndarray]:
    """Return the masks of an image in their classes' colours, by title."""
    for _, folder in masks:
        if not (path := folder / f"{image}.png").exists():
            raise SemplesError(path, "no such mask", "a mask of every image shown", "make the masks of this split")
    return {title: colour_mask(read_mask(folder / f"{image}.png"), palette) for title, folder in masks}
