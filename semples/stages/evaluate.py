"""evaluate: CAMs or masks against the true masks of a split."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from semples.errors import SemplesError
from semples.files import read_json, write_json
from semples.images import read_mask
from semples.manifest import Manifest, read_manifest
from semples.metrics import confusion, confusions_of, iou, mean_iou, summary, threshold_histogram
from semples.settings import Settings
from semples.store import CamFile


def run_cams(settings: Settings, manifest: Path, split: str, cams: Path, out: Path) -> None:
    """Write the JSON `out`: the whole threshold curve, and a summary at the threshold of every policy."""
    images = _judged(manifest, split)
    thresholds = np.arange(settings.evaluate.thresholds) / settings.evaluate.thresholds
    names = images.classes.names
    total = 0
    with CamFile(cams) as file:
        file.expect_classes(names)
        kept, packages = set(file.ids), file.provenance["packages"]
        for row in _rows(images, kept):
            maps = file.read(row.id)
            truth = read_mask(row.mask, (row.height, row.width))
            total = total + threshold_histogram(truth, maps.full_size(), maps.classes, thresholds, len(names))
    matrices = confusions_of(total)
    curve = mean_iou(matrices)
    fixed = settings.crf.threshold.value
    places = {"fixed": int(np.abs(thresholds - fixed).argmin()), "oracle": int(curve.argmax())}
    policies = {
        name: {"threshold": float(thresholds[place]), **summary(matrices[place], names)}
        for name, place in places.items()
    }
    ious = np.where(np.isnan(classwise := iou(matrices)), None, classwise)
    write_json(
        out,
        {
            **_header("cams", split, len(kept), packages),
            "policies": policies,
            "curve": {"threshold": thresholds.tolist(), "miou": curve.tolist(), "iou": ious.tolist()},
        },
    )
    for name, found in policies.items():
        print(f"CAM mIoU {found['miou']:.4f} on {split} at threshold {found['threshold']:.2f} ({name})")


def run_masks(manifest: Path, split: str, masks: Path, kind: str, out: Path) -> None:
    """Write the JSON `out`: a summary of the palette PNGs `masks`/<id>.png; `kind` says which stage made them."""
    images = _judged(manifest, split)
    if not masks.is_dir():
        raise SemplesError(masks, "no such folder", "a folder of masks", f"make it with `semples {kind}`")
    packages = read_json(masks / "provenance.json", kind)["packages"]
    kept = {image for image in images.table["id"] if (masks / f"{image}.png").exists()}
    total = 0
    for row in _rows(images, kept):
        shape = (row.height, row.width)
        truth, found = read_mask(row.mask, shape), read_mask(masks / f"{row.id}.png", shape)
        total = total + confusion(truth, found, len(images.classes))
    result = summary(total, images.classes.names)
    write_json(out, {**_header(kind, split, len(kept), packages), **result})
    print(f"{kind} mIoU {result['miou']:.4f} on {split}")


def _judged(manifest: Path, split: str) -> Manifest:
    images = read_manifest(manifest).split(split).with_masks()
    if len(images) == 0:
        raise SemplesError(manifest, f"no mask in split {split!r}", "true masks to judge by", "name a split with masks")
    return images


def _rows(images: Manifest, kept: set[str]):
    rows = [row for row in images.table.itertuples() if row.id in kept]
    if not rows:
        raise SemplesError(
            "evaluate", "no image in common", "results of this split", "name the split they were made of"
        )
    return tqdm(rows, desc="evaluate", unit="image", mininterval=2)


def _header(kind: str, split: str, images: int, packages: str) -> dict:
    return {"kind": kind, "split": split, "images": images, "packages": packages}
