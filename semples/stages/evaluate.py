"""evaluate: compare CAMs or masks with the ground truth of a split."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from tqdm import tqdm

from semples.config.settings import Settings
from semples.data.cam_file import CamFile
from semples.data.images import IGNORE, read_mask
from semples.data.manifest import Manifest, read_manifest
from semples.errors import SemplesError
from semples.evaluation import metrics
from semples.evaluation.evaluation_file import TITLES
from semples.evaluation.thresholds import ThresholdCounts, otsu_index, score_histogram, threshold_grid
from semples.files import read_json, write_json

_BUCKETS = 10_000  # of ids, from which the calibration share is drawn


def run_cams(settings: Settings, manifest: Path, split: str, cams: Path, out: Path) -> None:
    """Write the JSON `out`: mIoU and IoU per class at every threshold, and a summary at that of every policy."""
    images, thresholds = _images(manifest, split), threshold_grid(settings)
    with CamFile(cams) as file:
        file.require_classes(images.classes.names)
        made_on = {key: file.provenance.get(key, "") for key in ("packages", "machine")}
        kind = "refine" if file.provenance.get("command") == "semples refine" else "cams"
        calibration, test, scores, boundary = _count(settings, file, images, thresholds)
    both = calibration + test
    _require_pixels(manifest, split, both.histogram)
    curve = metrics.mean_iou(both.matrices())
    fixed = int(np.abs(thresholds - settings.crf.threshold.value).argmin())
    policies = {
        "fixed": _summary(both, fixed, images) | {"boundary_iou": float(metrics.mean_iou_from_counts(*boundary))},
        "oracle": _summary(both, int(curve.argmax()), images),
        "label-free": _summary(both, otsu_index(scores, thresholds), images),
    }
    if calibration.histogram.any() and test.histogram.any():
        best = int(metrics.mean_iou(calibration.matrices()).argmax())
        policies["held-out"] = _summary(test, best, images)
    ious = [[None if np.isnan(value) else value for value in row] for row in metrics.iou(both.matrices()).tolist()]
    points = {"threshold": thresholds.tolist(), "miou": curve.tolist(), "iou": ious}
    header = {"kind": kind, "split": split, "images": both.images, **made_on}
    write_json(out, {**header, "policies": policies, "curve": points})
    for name, result in policies.items():
        print(f"{TITLES[kind]} mIoU {result['miou']:.4f} on {split} at threshold {result['threshold']:.2f} ({name})")


def run_masks(manifest: Path, split: str, masks: Path, kind: str, out: Path) -> None:
    """Write the JSON `out`: a summary of the palette PNGs `masks`/<id>.png that the stage `kind` wrote."""
    images = _images(manifest, split)
    read_manifest(manifest).report_strays(masks)
    record = read_json(masks / "provenance.json", "segment_masks" if kind == "segment" else kind, "packages")
    made_on = {key: record.get(key, "") for key in ("packages", "machine")}
    ids = {image for image in images.table["id"] if (masks / f"{image}.png").exists()}
    classes = len(images.classes)
    total, boundary = np.zeros((classes + 1,) * 2, np.int64), np.zeros((3, classes + 1), np.int64)
    ignored, sums = 0, metrics.BootstrapSums()
    for row in _rows(images, ids):
        shape = (row.height, row.width)
        truth, prediction = read_mask(row.mask, shape), read_mask(masks / f"{row.id}.png", shape)
        matrix = metrics.confusion_matrix(truth, prediction, classes)
        total += matrix
        boundary += metrics.boundary_counts(truth, prediction, classes)
        ignored += int(((prediction == IGNORE) & (truth != IGNORE)).sum())
        sums.add(row.id, {"all": np.stack([np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)])})
    _require_pixels(manifest, split, total)
    low, high = metrics.confidence_interval(metrics.mean_iou_from_counts(*np.moveaxis(sums["all"], 1, 0)))
    result = metrics.summary(total, images.classes.names) | {"ignored": ignored, "interval": [low, high]}
    result["boundary_iou"] = float(metrics.mean_iou_from_counts(*boundary))
    write_json(out, {"kind": kind, "split": split, "images": len(ids), **made_on, **result})
    print(f"{kind} mIoU {result['miou']:.4f} (95 %: {low:.4f} to {high:.4f}) on {split}")


def _count(
    settings: Settings, file: CamFile, images: Manifest, thresholds: np.ndarray
) -> tuple[ThresholdCounts, ThresholdCounts, np.ndarray, np.ndarray]:
    """Return the counts of the images that choose the threshold of the policy `held-out`, those of the other images,
    the histogram of all scores (thresholds,), and metrics.boundary_counts at the fixed threshold."""
    classes = len(images.classes)
    calibration, test = ThresholdCounts(thresholds, classes), ThresholdCounts(thresholds, classes)
    scores, boundary = np.zeros(len(thresholds), np.int64), np.zeros((3, classes + 1), np.int64)
    for row in _rows(images, set(file.ids)):
        maps = file.read(row.id, (row.height, row.width))
        truth, score = read_mask(row.mask, (row.height, row.width)), maps.full_size()
        # the id alone decides, so that every variant and shard has the same share
        calibrates = crc32(f"held-out {row.id}".encode()) % _BUCKETS < settings.evaluate.held_out * _BUCKETS
        (calibration if calibrates else test).add(row.id, truth, score, maps.classes)
        mask = metrics.pseudo_mask(score, maps.classes, settings.crf.threshold.value)
        boundary += metrics.boundary_counts(truth, mask, classes)
        scores += score_histogram(maps.score, thresholds)
    for image in set(file.ids) - set(images.table["id"]):  # no ground truth, but scores
        scores += score_histogram(file.read(image).score, thresholds)
    return calibration, test, scores, boundary


def _summary(counts: ThresholdCounts, index: int, images: Manifest) -> dict:
    """Return the summary at the threshold of this index."""
    result = metrics.summary(counts.matrices()[index], images.classes.names)
    result["interval"] = metrics.confidence_interval(counts.bootstrap_miou(index))
    return result | {"threshold": float(counts.thresholds[index]), "images": counts.images, "ignored": 0}


def _images(manifest: Path, split: str) -> Manifest:
    images = read_manifest(manifest).split(split).with_masks()
    if len(images) == 0:
        raise SemplesError(manifest, f"no mask in split {split!r}", "ground truth", "name a split with masks")
    return images


def _require_pixels(manifest: Path, split: str, counts: np.ndarray) -> None:
    if not counts.any():
        problem = f"only void pixels in the masks of split {split!r}"
        raise SemplesError(manifest, problem, "ground truth", "correct the masks, or name another split")


def _rows(images: Manifest, ids: set[str]) -> Iterable[Any]:
    rows = [row for row in images.table.itertuples() if row.id in ids]
    if not rows:
        raise SemplesError("evaluate", "no image in common", "results of this split", "name the split they are of")
    print(f"{len(rows)} of {len(images)} images with ground truth have results")
    return tqdm(rows, desc="evaluate", unit="image", mininterval=2)
