"""The curve of 100 background thresholds. *Plain* reads all CAMs and masks again for every threshold and counts their
confusion matrix. *Ours* counts an integer histogram in one pass, from which every confusion matrix follows. In the
first row both read the same CAMs of full size and compute the curve only. The other rows are the whole of `semples
evaluate`, with intervals, boundary IoU and threshold policies that plain does not have, on the same CAMs and on the
file of a user at stride 4."""

from pathlib import Path

import numpy as np

from benchmarks.frame import Inputs, Row, seconds
from benchmarks.maps import published, read_published, settings, store
from semples.data.cam_file import CamFile
from semples.data.images import read_mask
from semples.data.manifest import Manifest
from semples.evaluation.metrics import (
    confusion_matrix,
    mean_iou,
    pseudo_mask,
    threshold_confusions,
    threshold_histogram,
)
from semples.evaluation.thresholds import threshold_grid
from semples.files import read_json
from semples.stages.evaluate import run_cams


def rows(inputs: Inputs) -> list[Row]:
    """Measure seconds per curve and the largest difference of an mIoU."""
    folder, images = published(inputs), inputs.images().with_masks()
    curve: list[float] = []
    plain = seconds(lambda: curve.extend(reread(folder, images, threshold_grid(settings(inputs)))))
    path, counted = store(inputs, 1, "float32"), []
    alone = seconds(lambda: counted.extend(one_pass(path, images, threshold_grid(settings(inputs)))))
    apart = np.abs(np.subtract(counted, curve)).max()
    agreement = f"largest difference of an mIoU {100 * apart:.2g} points"
    measured = f"curve of {len(curve)} thresholds alone"
    table = [Row("evaluate", measured, plain, alone, "s", plain / alone, agreement, "cpu")]
    for words, stride, dtype in (("the same maps", 1, "float32"), ("stride 4, float16", 4, "float16")):
        path, out = store(inputs, stride, dtype), inputs.folder / "curve.json"
        ours = seconds(lambda: run_cams(settings(inputs), inputs.manifest, inputs.split, path, out))  # noqa: B023
        apart = np.abs(np.array(read_json(out, "evaluate")["curve"]["miou"]) - curve).max()
        agreement = f"largest difference of an mIoU {100 * apart:.2g} points"
        measured = f"the whole, {words}"
        table.append(Row("evaluate", measured, plain, ours, "s", plain / ours, agreement, "cpu"))
    return table


def one_pass(path: Path, images: Manifest, thresholds: np.ndarray) -> list[float]:
    """Return the mIoU at every threshold after reading the files once."""
    total = 0
    with CamFile(path) as file:
        for row in images.table.itertuples():
            maps = file.read(row.id)
            scores, classes = maps.full_size(), len(images.classes)
            total = total + threshold_histogram(read_mask(row.mask), scores, maps.classes, thresholds, classes)
    return mean_iou(threshold_confusions(total)).tolist()


def reread(folder: Path, images: Manifest, thresholds: np.ndarray) -> list[float]:
    """Return the mIoU at every threshold, reading all files again for each."""
    return [float(mean_iou(_confusion_at(folder, images, threshold))) for threshold in thresholds]


def _confusion_at(folder: Path, images: Manifest, threshold: float) -> np.ndarray:
    total = 0
    for row in images.table.itertuples():
        score, present = read_published(folder / f"{row.id}.npy")
        total = total + confusion_matrix(
            read_mask(row.mask), pseudo_mask(score, present, threshold), len(images.classes)
        )
    return total
