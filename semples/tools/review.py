"""review: write a page of the photographs whose masks are most worth a look, and a folder to correct them."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from tqdm import tqdm

from semples.data.cam_file import CamFile
from semples.data.images import heat_overlay, read_image, read_mask
from semples.data.manifest import Classes, Manifest, read_manifest
from semples.errors import SemplesError
from semples.files import atomic_path
from semples.planning.layout import manifest_of
from semples.tools.export_masks import write_masks
from semples.tools.gallery import article, figure, legend, page
from semples.tools.predict import overlay

ORDERS = {"doubt": "most worth a look first", "id": "by name"}


class Look(NamedTuple):
    """What speaks for a look at the mask of an image."""

    missing: list[str]  # labels without a pixel
    shares: dict[str, float]  # of the image, by class that has pixels
    margin: float  # mean distance of the best score from the threshold, in [0, 1]


def run(
    file: Path,
    masks: Path,
    threshold: float,
    images: int,
    random: int | None,
    format: str,
    manifest: Path | None,
    out: Path,
) -> None:
    """Write the folder `out`: index.html, photographs/, and the masks of some images in a `format` of `export-masks`.

    The images are those that have labels without a pixel, then those with scores near the threshold and with areas that
    are unusual for their class; or random ones, whose corrected masks give an mIoU that holds for all images.

    Args:
        file: HDF5 file of CAMs.
        masks: Folder of pseudo masks, <id>.png.
        threshold: Background threshold, in [0, 1].
        images: Number of images.
        random: Random seed of random images; None for those that are most worth a look.
        manifest: manifest.csv of the images; None for that of the run that `file` belongs to.
    """
    listed = read_manifest(manifest or manifest_of(file))
    with CamFile(file) as cams, atomic_path(out) as folder:
        cams.require_classes(listed.classes.names)
        table = listed.table[listed.table["id"].isin(cams.ids)].reset_index(drop=True)
        if table.empty:
            raise SemplesError(file, "no image of the manifest", "the CAMs of its images", "correct --manifest")
        bar = tqdm(table.itertuples(), "review", len(table), unit="image", mininterval=2)
        looks = [_look(row, cams, masks, threshold, listed.classes) for row in bar]
        usual = _usual_shares(looks)
        doubts = _doubts(looks, usual)
        order = np.argsort(-doubts, kind="stable")
        if random is not None:
            order = np.random.default_rng(random).permutation(len(looks))
        subset = Manifest(table.iloc[order[:images]].reset_index(drop=True), listed.classes)
        articles = []
        for row, number in zip(subset.table.itertuples(), order.tolist(), strict=False):
            _copy(Path(row.image), folder / "photographs" / f"{row.id}{Path(row.image).suffix}")
            articles.append(_article(row, _reasons(looks[number], usual), doubts[number], cams, masks, listed.classes))
        write_masks(masks, subset, folder / format, format)
        which = "most worth a look" if random is None else f"drawn at random with seed {random}"
        note = f"{len(articles)} of {len(looks)} images, {which}. The masks to correct are in {format}/."
        html = page(f"Review: {out.name}", note, listed.classes.names, ORDERS, articles)
        (folder / "index.html").write_text(html, encoding="utf-8")
    print(f"{note.partition('.')[0]}: {out / 'index.html'}")


def _look(row, cams: CamFile, masks: Path, threshold: float, classes: Classes) -> Look:
    maps = cams.read(row.id, (row.height, row.width))
    counts = np.bincount(read_mask(masks / f"{row.id}.png", (row.height, row.width)).ravel(), minlength=256)
    shares = {name: counts[k] / counts.sum() for k, name in enumerate(classes.names, start=1) if counts[k]}
    missing = [name for name in filter(None, row.labels.split(";")) if name not in shares]
    return Look(missing, shares, float(np.abs(maps.score.max(axis=0) - threshold).mean()))


def _usual_shares(looks: list[Look]) -> dict[str, float]:
    """Return the median share of the image that each class covers where it has pixels."""
    names = {name for look in looks for name in look.shares}
    return {name: float(np.median([look.shares[name] for look in looks if name in look.shares])) for name in names}


def _oddness(look: Look, usual: dict[str, float]) -> float:
    """Return the largest factor, as a logarithm, by which the area of a class differs from the usual one."""
    return max((abs(float(np.log(share / usual[name]))) for name, share in look.shares.items()), default=0.0)


def _doubts(looks: list[Look], usual: dict[str, float]) -> np.ndarray:
    """Return how much every image is worth a look: labels without a pixel, and ranks of margin and area in [0, 1]."""
    low_margin = rankdata([-look.margin for look in looks]) / len(looks)
    odd_area = rankdata([_oddness(look, usual) for look in looks]) / len(looks)
    return np.array([len(look.missing) for look in looks]) + (low_margin + odd_area) / 2


def _reasons(look: Look, usual: dict[str, float]) -> str:
    """Return what the page says of an image."""
    areas = [f"{name} {share:.1%}, usually {usual[name]:.1%}" for name, share in sorted(look.shares.items())]
    return "; ".join([*(f"no pixel of {name}" for name in look.missing), *areas, f"margin {look.margin:.2f}"])


def _article(row, reasons: str, doubt: float, cams: CamFile, masks: Path, classes: Classes) -> str:
    photo, mask, maps = read_image(row.image), read_mask(masks / f"{row.id}.png"), cams.read(row.id)
    names = [cams.class_names[k] for k in maps.classes]
    coloured = figure("mask", overlay(photo, mask, classes.shown_palette()), row.id, legend(mask, classes))
    pictures = [figure("photograph", photo, row.id), coloured]
    for name, heat in zip(names, maps.full_size(), strict=True):
        pictures.append(figure(f"map of {name}", heat_overlay(photo, heat), row.id))
    return article(row.id, names, {"doubt": -doubt}, pictures, reasons)


def _copy(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)
