"""Panels of pictures: some images under all variants, the framework's stages on one, the best and the worst."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from tqdm import tqdm

from semples.config.settings import Settings
from semples.data.cam_file import CamFile
from semples.data.images import colour_mask, heat_overlay, read_image, read_mask
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.evaluation.metrics import confusion_matrix, iou, pseudo_mask
from semples.figure_style import PAGE, save_figure, save_grid, show_image, wrap_title

Named = Iterable[tuple[str, Path]]
STAGE_WORDS = 3  # of the prompt, under the framework's background


def run_panel(settings: Settings, manifest: Path, split: str, cams: Named, masks: Named, out: Path) -> None:
    """Draw a row an image; columns image, truth, a heat map for each of `cams`, then each of `masks`.

    The column of truth is there if any image has one, and white for those that have none.

    `cams` are (title, HDF5 file), `masks` (title, folder of PNGs). The images are drawn at random with the settings'
    seed among the labelled ones of `split`; a heat map shows the image's first class.
    """
    images = _drawn(settings, manifest, split)
    rows = [_row_pictures(images, row, list(cams), list(masks)) for row in range(len(images))]
    save_grid(rows, out, [_first_class(images, row) for row in range(len(images))])


def run_comparison(settings: Settings, manifest: Path, split: str, cams: Named, threshold: float, out: Path) -> None:
    """Draw the CAMs of all variants on images chosen by a rule: at random, the best, the worst, a third each.

    Best and worst are by the last variant's mean IoU over the image's classes, background left out, of its CAM at
    `threshold`. Without true masks all are random.
    """
    variants = list(cams)
    images = read_manifest(manifest).split(split).with_labels()
    third = -(-settings.figures.images // 3)
    scores = _scores(images, variants[-1][1], threshold)
    random = images.sample(third if len(scores) else settings.figures.images, settings.figures.seed)
    chosen = [("random", image) for image in random.table["id"]]
    if len(scores):
        order = scores.sort_values(ascending=False, kind="stable").index
        chosen += [("best", image) for image in order[:third]] + [("worst", image) for image in order[-third:]]
    place = {image: row for row, image in enumerate(images.table["id"])}
    rows, names = [], []
    for rule, image in chosen:
        rows.append(_row_pictures(images, place[image], variants, []))
        judged = f", IoU {100 * scores[image]:.0f}" if image in scores else ""
        names.append(f"{rule}{judged}\n{_first_class(images, place[image])}")
    save_grid(rows, out, names)


def run_framework(
    settings: Settings, manifest: Path, split: str, cams: Named, masks: Named, words: Path, out: Path
) -> None:
    """Draw the stages of the method on one image, the first of those that a panel draws, for its first class.

    `cams` are (stage, HDF5 file) in the order of the stages, the one named slm shows the background that the prompt
    learns from; `words` is the words.csv of that prompt; `masks` are (title, folder of PNGs).
    """
    images = _drawn(settings, manifest, split)
    here, name = images.table.iloc[0], _first_class(images, 0)
    photo = read_image(here["image"])
    tiles = {f"image, labelled {here['labels'].replace(';', ', ')}": photo}
    for stage, path in cams:
        with CamFile(path) as file:
            score = file.read(here["id"]).full_size()[0]
        tiles[f"{stage}: map of {name}"] = heat_overlay(photo, score)
        if stage == "slm":
            tiles[_prompt_title(words, name)] = (photo * (1 - score[..., None]) + 128 * score[..., None]).astype(
                np.uint8
            )
    for title, folder in masks:
        tiles[title] = colour_mask(read_mask(folder / f"{here['id']}.png"), images.classes.palette())
    if here["mask"]:
        tiles["truth (judges, trains nothing)"] = colour_mask(read_mask(here["mask"]), images.classes.palette())
    _draw_tiles(tiles, out)


def _draw_tiles(tiles: dict[str, np.ndarray], out: Path) -> None:
    columns = -(-len(tiles) // 2)
    height, width = next(iter(tiles.values())).shape[:2]
    side = PAGE / columns
    size = (PAGE, 2 * (side * height / width + 0.45))
    figure, axes = plt.subplots(2, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(tiles) :]:
        axis.remove()
    for number, (axis, (title, picture)) in enumerate(zip(axes.flat, tiles.items(), strict=False), start=1):
        show_image(axis, picture)
        axis.set_title(wrap_title(f"{number}  {title}", side), fontsize=7, loc="left")
    save_figure(figure, out)


def _prompt_title(words: Path, name: str) -> str:
    frame = pd.read_csv(words)
    nearest = frame[(frame["class"] == name) & (frame["list"] == "nearest")]["word"].head(STAGE_WORDS)
    return f"cpl: what slm leaves; the prompt learns it: {', '.join(nearest)}"


def _drawn(settings: Settings, manifest: Path, split: str) -> Manifest:
    images = read_manifest(manifest).split(split).with_labels()
    return images.sample(settings.figures.images, settings.figures.seed)


def _first_class(images: Manifest, row: int) -> str:
    """The class that an image's heat maps show, the first in the order of the classes."""
    return images.classes.names[int(images.label_matrix()[row].argmax())]


def _scores(images: Manifest, cams: Path, threshold: float) -> pd.Series:
    """Mean IoU over the classes of every image with a mask, background left out, by image."""
    judged, found = images.with_masks(), {}
    with CamFile(cams) as file:
        for row in tqdm(list(judged.table.itertuples()), desc="choosing", unit="image", mininterval=2):
            maps = file.read(row.id)
            mask = pseudo_mask(maps.full_size(), maps.classes, threshold)
            values = iou(confusion_matrix(read_mask(row.mask), mask, len(images.classes)))[1:]
            if np.isfinite(values).any():
                found[row.id] = float(np.nanmean(values))
    return pd.Series(found, dtype=float)


def _row_pictures(
    images: Manifest, row: int, cams: list[tuple[str, Path]], masks: list[tuple[str, Path]]
) -> dict[str, np.ndarray]:
    here, palette = images.table.iloc[row], images.classes.palette()
    photo = read_image(here["image"])
    pictures = {"image": photo}
    if (images.table["mask"] != "").any():
        pictures["truth"] = colour_mask(read_mask(here["mask"]), palette) if here["mask"] else np.full_like(photo, 255)
    for title, path in cams:
        with CamFile(path) as file:
            pictures[title] = heat_overlay(photo, file.read(here["id"]).full_size()[0])
    for title, folder in masks:
        path = folder / f"{here['id']}.png"
        if not path.exists():
            raise SemplesError(path, "no such mask", "a mask of every drawn image", "make the masks of this split")
        pictures[title] = colour_mask(read_mask(path), palette)
    return pictures
