"""The size of the CAMs, and the time to read those of a random image. *Plain* is a pickled float32 .npy file per image
with the present classes at full size. *Ours* is one HDF5 file. Agreement is the CAM mIoU at the best threshold; it has
no meaning for random weights."""

from pathlib import Path

import numpy as np

from benchmarks.frame import Inputs, Row, seconds
from benchmarks.maps import published, read_published, settings, store
from semples.data.cam_file import CamFile
from semples.files import read_json
from semples.stages.evaluate import run_cams

READS = 300


def rows(inputs: Inputs) -> list[Row]:
    """Measure megabytes and milliseconds."""
    folder, table = published(inputs), []
    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    full = best_miou(inputs, store(inputs, 1, "float32"))
    for stride, dtype in ((4, "float16"), (4, "uint8"), (1, "float16")):
        path = store(inputs, stride, dtype)
        size, miou = path.stat().st_size / 1e6, best_miou(inputs, path)
        change = f"CAM mIoU {full:.2f} and {miou:.2f}, change {miou - full:+.2f} points"
        measured = f"size, stride {stride}, {dtype}"
        table.append(Row("store", measured, megabytes, size, "MB", megabytes / size, change, "cpu"))
    with CamFile(store(inputs, 4, "float16")) as file:
        drawn = np.random.default_rng(0).choice(file.ids, READS)
        plain = seconds(lambda: [read_published(folder / f"{image}.npy") for image in drawn]) / READS * 1e3
        ours = seconds(lambda: [file.read(image) for image in drawn]) / READS * 1e3
    words = "maps of a random image, file open"
    return [*table, Row("store", words, plain, ours, "ms", plain / ours, "other resolution", "cpu")]


def best_miou(inputs: Inputs, path: Path) -> float:
    """Return the CAM mIoU in percent at the best threshold."""
    out = inputs.folder / f"{path.stem}.json"
    run_cams(settings(inputs), inputs.manifest, inputs.split, path, out)
    return 100 * read_json(out, "evaluate")["policies"]["oracle"]["miou"]
