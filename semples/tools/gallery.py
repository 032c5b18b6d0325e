"""gallery: write one HTML page of CAMs over their images, worst first, that needs no network and no other file."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from semples.data.cam_file import CamFile, ImageCams
from semples.data.images import colour_mask, heat_overlay, read_image, read_mask
from semples.data.manifest import Classes, Manifest, read_manifest
from semples.errors import SemplesError
from semples.evaluation.metrics import confusion_matrix, iou, pseudo_mask
from semples.files import write_text
from semples.planning.layout import manifest_of
from semples.tools.pages import fill

HEIGHT = 150  # pixels of a picture on the page
UNKNOWN = 2.0  # IoU of an image without ground truth, or all void: it comes last
ORDERS = {"iou": "worst IoU first", "confidence": "least confident first", "id": "by name"}


class Gallery(NamedTuple):
    """The inputs of a page: CAMs, the images they belong to, and the masks that are made of them."""

    cams: CamFile
    images: Manifest
    masks: Path | None
    threshold: float

    def rank(self, image: str, row: pd.Series) -> tuple[float, float]:
        """Return the mean IoU over background and the classes of an image's maps, in [0, 1] or UNKNOWN, and the mean
        distance of the best score from the threshold, in [0, 1]."""
        maps, score = self.cams.read(image), UNKNOWN
        if row["mask"]:
            truth = read_mask(row["mask"], (maps.height, maps.width))
            matrix = confusion_matrix(truth, self._mask(maps, image), len(self.images.classes))
            values = iou(matrix)[[0, *(maps.classes + 1)]]
            score = float(np.nanmean(values)) if np.isfinite(values).any() else UNKNOWN
        return score, float(np.abs(maps.score.max(axis=0) - self.threshold).mean())

    def article(self, image: str, row: pd.Series, score: float, confidence: float) -> str:
        """Return the part of the page for one image."""
        maps, photo, classes = self.cams.read(image), read_image(row["image"]), self.images.classes
        labels = [self.cams.class_names[k] for k in maps.classes]
        masks = {"truth": read_mask(row["mask"])} if row["mask"] else {}
        masks["mask"] = self._mask(maps, image)
        pictures = [figure("photograph", photo, image)]
        for title, mask in masks.items():
            pictures.append(figure(title, colour_mask(mask, classes.shown_palette()), image, legend(mask, classes)))
        for label, heat in zip(labels, maps.full_size(), strict=True):
            pictures.append(figure(f"map of {label}", heat_overlay(photo, heat), image))
        text = f"IoU {100 * score:.1f} %, " if score < UNKNOWN else ""
        orders = {"iou": score, "confidence": confidence}
        return article(image, labels, orders, pictures, f"{text}confidence {confidence:.2f}")

    def _mask(self, maps: ImageCams, image: str) -> np.ndarray:
        """Return the mask that is evaluated, uint8 (height, width)."""
        if self.masks is None:
            return pseudo_mask(maps.full_size(), maps.classes, self.threshold)
        return read_mask(self.masks / f"{image}.png", (maps.height, maps.width))


def run(file: Path, masks: Path | None, threshold: float, images: int, out: Path, manifest: Path | None) -> None:
    """Write the HTML page `out` of the images with the lowest IoU, or with the least confidence without ground truth.

    Args:
        file: HDF5 file of CAMs.
        masks: Folder of pseudo masks to evaluate and show; None for the CAMs above `threshold`.
        images: Most images on the page.
        manifest: manifest.csv of the images; None for that of the run that `file` belongs to.
    """
    listed = read_manifest(manifest or manifest_of(file))
    with CamFile(file) as cams:
        cams.require_classes(listed.classes.names)
        rows = listed.table.set_index("id").reindex(cams.ids)
        if rows["image"].isna().any():
            problem = f"no image {rows.index[rows['image'].isna()][0]!r}"
            raise SemplesError(manifest or file, problem, "the manifest of these CAMs", "correct --manifest")
        if masks:
            listed.report_strays(masks)
        gallery = Gallery(cams, listed, masks, threshold)
        ranks = {image: gallery.rank(image, row) for image, row in tqdm(rows.iterrows())}
        by_iou = any(score < UNKNOWN for score, _ in ranks.values())
        worst = sorted(ranks, key=lambda image: ranks[image][0 if by_iou else 1])
        articles = [gallery.article(image, rows.loc[image], *ranks[image]) for image in worst[:images]]
    count = f"{len(articles)} of {len(ranks)} images"
    source = "the pseudo masks" if masks else f"the CAMs above {threshold}"
    orders = {name: title for name, title in ORDERS.items() if by_iou or name != "iou"}
    note = f"{count}, ranked by {'IoU' if by_iou else 'confidence'}. The masks are {source}."
    note += f" {cams.provenance.get('packages', '')}."
    write_text(out, page(f"CAMs: {file.name}", note, listed.classes.names, orders, articles))
    print(f"{count}: {out}")


def page(title: str, note: str, names: Sequence[str], orders: dict[str, str], articles: Sequence[str]) -> str:
    """Return an HTML page of articles that can be filtered by class and sorted.

    Args:
        names: Of the classes.
        orders: Title of an order by the `data-` attribute of the articles, lowest first; the first one is shown.
        articles: HTML, each an `article` with the attributes `data-id`, `data-classes` and those of the orders.
    """
    return fill(
        "gallery.html",
        title=escape(title),
        note=escape(note),
        options="".join(f'<option value="{escape(name)}">' for name in names),
        orders="".join(f'<option value="{name}">{text}</option>' for name, text in orders.items()),
        articles="\n".join(articles),
    )


def article(image: str, labels: Sequence[str], orders: dict[str, float], figures: Sequence[str], text: str) -> str:
    """Return the part of a page for one image, which the filter and the orders of the page find.

    Args:
        labels: Names of the classes that the filter knows.
        orders: Numbers by the name of an order, lowest first.
        figures: HTML.
    """
    numbers = "".join(f' data-{name}="{number:.6f}"' for name, number in orders.items())
    return (
        f'<article data-id="{escape(image)}" data-classes="{escape(";".join(labels))}"{numbers} tabindex="-1">'
        f"<h2>{escape(image)}</h2>{''.join(figures)}<p>{escape(text)}</p></article>"
    )


def figure(caption: str, picture: np.ndarray, image: str, more: str = "") -> str:
    """Return a figure with RGB uint8 (height, width, 3) as a JPEG data URL, at the height of the page.

    Args:
        image: Id of the image that the picture shows.
        more: HTML behind the caption.
    """
    width = max(1, round(picture.shape[1] * HEIGHT / picture.shape[0]))
    small = cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    source = f"data:image/jpeg;base64,{b64encode(data.tobytes()).decode()}"
    alt = escape(f"{caption}: {image}")
    attributes = f'alt="{alt}" width="{width}" height="{HEIGHT}" loading="lazy"'
    return f'<figure><img {attributes} src="{source}"><figcaption>{escape(caption)}{more}</figcaption></figure>'


def legend(mask: np.ndarray, classes: Classes) -> str:
    """Return the colours and names, as HTML, of the classes in a mask uint8 (height, width)."""
    palette = classes.shown_palette()
    return "".join(
        f'<span class="colour" style="background:#{palette[k].tobytes().hex()}"></span>{escape(classes.names[k - 1])}'
        for k in np.unique(mask).tolist()
        if 0 < k <= len(classes)
    )
