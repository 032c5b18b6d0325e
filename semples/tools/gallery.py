"""One HTML page of overlays, the worst first, that needs no network and no other file."""

from base64 import b64encode
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np
from tqdm import tqdm

from semples.data.cam_file import CamFile, ImageCams
from semples.data.images import colour_mask, heat_overlay, read_image, read_mask
from semples.data.manifest import Manifest, read_manifest
from semples.evaluation.metrics import confusion_matrix, iou, pseudo_mask
from semples.files import write_text

HEIGHT = 150  # pixels of a picture on the page
QUALITY = 80
TITLES = {"iou": "worst IoU first", "confidence": "least confident first", "id": "by name"}
PAGE = Path(__file__).with_name("gallery.html")


@dataclass(frozen=True)
class Judged:
    """One image and how good, or how sure, its maps are."""

    image: str
    labels: tuple[str, ...]
    iou: float | None
    """Mean IoU in [0, 1] over background and the classes of the image's maps; None without a true mask."""
    confidence: float
    """Mean distance of the best score from the threshold, in [0, 1]."""


def run(cams: Path, manifest: Path, masks: Path | None, threshold: float, most: int, out: Path) -> None:
    """Write the HTML page `out` of the `most` images that are worst by IoU, or least confident where no masks exist.

    `masks` is a folder of pseudo masks to judge and show; without it, the CAMs above `threshold`.
    """
    images = read_manifest(manifest)
    with CamFile(cams) as file:
        file.require_classes(images.classes.names)
        rows = images.table.set_index("id").loc[file.ids]
        judged = [_judge(file, image, row, masks, threshold, images) for image, row in tqdm(rows.iterrows())]
        by_iou = any(one.iou is not None for one in judged)
        judged.sort(key=lambda one: (2.0 if one.iou is None else one.iou) if by_iou else one.confidence)
        articles = [
            _article(one, _pictures(file.read(one.image), rows.loc[one.image], masks, threshold, images, one))
            for one in judged[:most]
        ]
    shown = f"{min(most, len(judged))} of {len(judged)} images"
    words = f"pseudo masks of {masks.name}" if masks else f"CAMs above {threshold}"
    note = f"{shown}, judged by {words}. {escape(file.provenance['packages'])}."
    write_text(out, page(articles, images.classes.names, by_iou, cams.name, note))
    print(f"{shown}: {out}")


def page(articles: list[str], names: tuple[str, ...], by_iou: bool, title: str, note: str) -> str:
    """The HTML of the page, pictures within."""
    orders = [name for name in TITLES if by_iou or name != "iou"]
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        note=note,
        options="".join(f'<option value="{escape(name)}">' for name in names),
        orders="".join(f'<option value="{name}">{TITLES[name]}</option>' for name in orders),
        articles="\n".join(articles),
    )


def _judge(file: CamFile, image: str, row, masks: Path | None, threshold: float, images: Manifest) -> Judged:
    maps = file.read(image)
    best = maps.score.max(axis=0)
    sure, value = float(np.abs(best - threshold).mean()), None
    if row["mask"]:
        truth = read_mask(row["mask"], (maps.height, maps.width))
        matrix = confusion_matrix(truth, _prediction(maps, image, masks, threshold), len(images.classes))
        value = float(np.nanmean(iou(matrix)[[0, *(maps.classes + 1)]]))
    return Judged(image, tuple(file.class_names[k] for k in maps.classes), value, sure)


def _prediction(maps: ImageCams, image: str, masks: Path | None, threshold: float) -> np.ndarray:
    """The mask that is judged, uint8 (height, width)."""
    if masks is None:
        return pseudo_mask(maps.full_size(), maps.classes, threshold)
    return read_mask(masks / f"{image}.png", (maps.height, maps.width))


def _pictures(maps: ImageCams, row, masks: Path | None, threshold: float, images: Manifest, one: Judged) -> dict:
    photo, palette = read_image(row["image"]), images.classes.palette()
    found = {"photograph": photo}
    if row["mask"]:
        found["truth"] = colour_mask(read_mask(row["mask"]), palette)
    found["mask"] = colour_mask(_prediction(maps, one.image, masks, threshold), palette)
    return found | {name: heat_overlay(photo, heat) for name, heat in zip(one.labels, maps.full_size(), strict=True)}


def _article(one: Judged, pictures: dict[str, np.ndarray]) -> str:
    """The part of the page for one image; `pictures` are RGB uint8 (height, width, 3) by caption."""
    figures = "".join(map(_figure, pictures, pictures.values()))
    judged = "" if one.iou is None else f", IoU {100 * one.iou:.1f} %"
    value = 2 if one.iou is None else one.iou
    return (
        f'<article data-id="{escape(one.image)}" data-classes="{escape(";".join(one.labels))}" data-iou="{value:.6f}"'
        f' data-confidence="{one.confidence:.6f}">{figures}'
        f"<p>{escape(one.image)}{judged}, confidence {one.confidence:.2f}</p></article>"
    )


def _figure(caption: str, picture: np.ndarray) -> str:
    words = escape(caption)
    return f'<figure><img alt="{words}" src="{_embedded(picture)}"><figcaption>{words}</figcaption></figure>'


def _embedded(picture: np.ndarray) -> str:
    """A data URL of the picture as JPEG, at the height of the page."""
    width = max(1, round(picture.shape[1] * HEIGHT / picture.shape[0]))
    small = cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{b64encode(data).decode()}"
