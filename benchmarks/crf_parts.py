"""Measure how the time of the dense CRF divides between building its lattices and its iterations.

    python -m benchmarks.crf_parts PHOTO...

A term of the CRF has one lattice, which filters all labels of an image together. One thread, preset irn, ten
iterations, background and one or two classes with random scores. The median of three calls counts for each photograph.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from pydensecrf.densecrf import DenseCRF2D

from benchmarks.frame import seconds
from semples.data.images import read_image
from semples.inference.crf import PRESETS
from semples.stages.tables.formats import markdown

CALLS, ITERATIONS, KERNELS = 3, 10, PRESETS["irn"]


def main() -> None:
    """Print a row per number of labels: milliseconds of an image, and the share of every part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crf_parts", description=__doc__)
    parser.add_argument("photos", type=Path, nargs="+")
    images = [read_image(path) for path in parser.parse_args().photos]
    print(markdown(pd.DataFrame([_row(images, labels) for labels in (2, 3)])))


def _row(images: list[np.ndarray], labels: int) -> dict[str, str]:
    """Return the parts of the mean image: what building takes without iterations, and each term alone with them."""
    built = {terms: _milliseconds(images, labels, terms, 0) for terms in ("smoothness", "appearance", "both")}
    run = {terms: _milliseconds(images, labels, terms, ITERATIONS) for terms in built}
    whole = run["both"]
    parts = {f"{terms}: lattice": built[terms] for terms in ("smoothness", "appearance")}
    parts |= {f"{terms}: iterations": run[terms] - built[terms] for terms in ("smoothness", "appearance")}
    return {"labels": str(labels), "ms": f"{whole:.0f}", **{n: f"{100 * t / whole:.0f} %" for n, t in parts.items()}}


def _milliseconds(images: list[np.ndarray], labels: int, terms: str, iterations: int) -> float:
    rng = np.random.default_rng(0)
    unaries = [rng.random((labels, image.shape[0] * image.shape[1]), np.float32) for image in images]
    times = [
        seconds(lambda pair=pair: _run(*pair, terms, iterations), CALLS) for pair in zip(images, unaries, strict=True)
    ]
    return 1e3 * float(np.mean(times))


def _run(image: np.ndarray, unary: np.ndarray, terms: str, iterations: int) -> None:
    """Build the CRF with the smoothness term, the appearance term or both, and run its iterations."""
    crf = DenseCRF2D(image.shape[1], image.shape[0], len(unary))
    crf.setUnaryEnergy(unary)
    if terms != "appearance":
        crf.addPairwiseGaussian(sxy=KERNELS.gaussian_sxy, compat=KERNELS.gaussian_compat)
    if terms != "smoothness":
        spread = {"sxy": KERNELS.bilateral_sxy, "srgb": KERNELS.bilateral_srgb}
        crf.addPairwiseBilateral(**spread, rgbim=np.ascontiguousarray(image), compat=KERNELS.bilateral_compat)
    crf.inference(iterations)


if __name__ == "__main__":
    main()
