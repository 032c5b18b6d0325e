"""evaluate: CAMs or masks against the true masks of a split."""

from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
from tqdm import tqdm

from semples.config.settings import Settings
from semples.data.cam_file import CamFile
from semples.data.images import IGNORE, read_mask
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.evaluation.bootstrap import BootstrapSums, confidence_interval
from semples.evaluation.metrics import (
    boundary_counts,
    confusion_matrix,
    iou,
    mean_iou,
    mean_iou_from_counts,
    pseudo_mask,
    summary,
)
from semples.evaluation.threshold_counts import ThresholdCounts, score_histogram
from semples.evaluation.thresholds import otsu_index, threshold_grid
from semples.files import read_json, write_json

BUCKETS = 10_000  # of ids, to draw a share of them


def run_cams(settings: Settings, manifest: Path, split: str, cams: Path, out: Path) -> None:
    """Write the JSON `out`: the whole threshold curve, and a summary at the threshold of every policy."""
    images = _judged(manifest, split)
    thresholds = threshold_grid(settings)
    with CamFile(cams) as file:
        file.require_classes(images.classes.names)
        packages = file.provenance["packages"]
        scores, choosing, judging, boundary = _count_maps(settings, file, images, thresholds)
    both = choosing + judging
    curve = mean_iou(both.matrices())
    fixed = int(np.abs(thresholds - settings.crf.threshold.value).argmin())
    policies = {
        "fixed": _policy(both, fixed, thresholds, images) | {"boundary_iou": float(mean_iou_from_counts(*boundary))},
        "oracle": _policy(both, int(curve.argmax()), thresholds, images),
        "label-free": _policy(both, otsu_index(scores, thresholds), thresholds, images),
    }
    if choosing.images and judging.images:
        place = int(mean_iou(choosing.matrices()).argmax())
        policies["held-out"] = _policy(judging, place, thresholds, images)
    ious = np.where(np.isnan(classwise := iou(both.matrices())), None, classwise)
    write_json(
        out,
        {
            **_header("cams", split, both.images, packages),
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
    classes = len(images.classes)
    total, boundary, ignored, replicates = 0, 0, 0, BootstrapSums()
    for row in _rows(images, kept):
        shape = (row.height, row.width)
        truth, found = read_mask(row.mask, shape), read_mask(masks / f"{row.id}.png", shape)
        matrix = confusion_matrix(truth, found, classes)
        total, boundary = total + matrix, boundary + boundary_counts(truth, found, classes)
        ignored += int(((found == IGNORE) & (truth != IGNORE)).sum())
        replicates.add(row.id, {"all": [np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)]})
    result = summary(total, images.classes.names) | {
        "boundary_iou": float(mean_iou_from_counts(*boundary)),
        "ignored": ignored,
        "interval": confidence_interval(mean_iou_from_counts(*np.moveaxis(replicates.sums["all"], 1, 0))),
    }
    write_json(out, {**_header(kind, split, len(kept), packages), **result})
    low, high = result["interval"]
    print(f"{kind} mIoU {result['miou']:.4f} (95 %: {low:.4f} to {high:.4f}) on {split}")


def _count_maps(
    settings: Settings, file: CamFile, images: Manifest, thresholds: np.ndarray
) -> tuple[np.ndarray, ThresholdCounts, ThresholdCounts, np.ndarray]:
    """One pass over the store: all scores, the counts of the images that choose `held-out` and of those that judge it,
    and the boundary counts at the fixed threshold."""
    classes = len(images.classes)
    parts, scores = [ThresholdCounts(thresholds, classes), ThresholdCounts(thresholds, classes)], 0
    boundary = np.zeros((3, classes + 1), np.int64)
    kept = set(file.ids)
    for row in _rows(images, kept):
        maps = file.read(row.id)
        truth, score = read_mask(row.mask, (row.height, row.width)), maps.full_size()
        parts[not _chooses(row.id, settings.evaluate.held_out)].add(row.id, truth, score, maps.classes)
        mask = pseudo_mask(score, maps.classes, settings.crf.threshold.value)
        boundary += boundary_counts(truth, mask, classes)
        scores = scores + score_histogram(maps.score, thresholds)
    for image in kept - set(images.table["id"]):  # without a mask, but with scores
        scores = scores + score_histogram(file.read(image).score, thresholds)
    return scores, *parts, boundary


def _chooses(image: str, share: float) -> bool:
    """Whether an image is of the share that chooses a threshold; its id alone decides."""
    return crc32(f"held-out {image}".encode()) % BUCKETS < share * BUCKETS


def _policy(counts: ThresholdCounts, place: int, thresholds: np.ndarray, images: Manifest) -> dict:
    return {
        "threshold": float(thresholds[place]),
        **summary(counts.matrices()[place], images.classes.names),
        "images": counts.images,
        "ignored": 0,
        "interval": confidence_interval(counts.bootstrap_miou(place)),
    }


def _judged(manifest: Path, split: str) -> Manifest:
    images = read_manifest(manifest).split(split).with_masks()
    if len(images) == 0:
        raise SemplesError(manifest, f"no mask in split {split!r}", "true masks to judge by", "name a split with masks")
    return images


def _rows(images: Manifest, kept: set[str]) -> Iterator:
    rows = [row for row in images.table.itertuples() if row.id in kept]
    if not rows:
        raise SemplesError(
            "evaluate", "no image in common", "results of this split", "name the split they were made of"
        )
    return tqdm(rows, desc="evaluate", unit="image", mininterval=2)


def _header(kind: str, split: str, images: int, packages: str) -> dict:
    return {"kind": kind, "split": split, "images": images, "packages": packages}
