"""crf: dense CRF turns CAMs into palette PNG pseudo masks, in parallel processes."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from semples.config.settings import Crf, Settings
from semples.data.cam_file import CamFile, ImageCams
from semples.data.images import IGNORE, read_image, write_image, write_mask
from semples.data.manifest import read_manifest
from semples.errors import SemplesError
from semples.files import atomic_path, provenance, read_json, remove_leftovers, sha256, write_json
from semples.planning.graph import expect_masks
from semples.runtime.parallel import share, spread
from semples.stages.evaluate import label_free_threshold


class Kernels(NamedTuple):
    """Pairwise terms of a CRF: standard deviations in pixels (sxy) and grey levels (srgb), and weights (compat)."""

    gaussian_sxy: float
    gaussian_compat: float
    bilateral_sxy: float
    bilateral_srgb: float
    bilateral_compat: float
    soft: bool


PRESETS = {
    "weaktr": Kernels(4, 3, 83, 5, 3, soft=False),
    "irn": Kernels(3, 3, 50, 5, 10, soft=False),
    "deeplab": Kernels(1, 3, 67, 3, 4, soft=True),
    "psa": Kernels(3, 3, 80, 13, 10, soft=True),
    "mini": Kernels(1, 3, 10, 13, 4, soft=False),
}
LABEL_CONFIDENCE = 0.7


def run(
    settings: Settings, manifest: Path, cams: Path, evaluation: Path | None, out: Path, shard: str | None = None
) -> None:
    """Write the folder `out` with a palette PNG `<id>.png` for every image in `cams`.

    `evaluation` is the JSON that `semples evaluate --cams` wrote: the threshold of the settings' policy is in it.
    Without it (a data set without true masks) the policy must be `fixed` or `label-free`. `shard`, such as "2-of-4",
    is the share of the images that this job takes.
    """
    images = read_manifest(manifest)
    threshold = _threshold(settings, cams, evaluation)
    with CamFile(cams) as file:
        file.expect_classes(images.classes.names)
        ids = file.ids[share(shard, len(file.ids))]
    photos = images.table.set_index("id")["image"]
    jobs = [(image, photos[image]) for image in ids]
    used = settings.model_dump(include={"crf"}, mode="json")
    remove_leftovers(out)
    with atomic_path(out) as folder:
        write_json(folder / "provenance.json", provenance("crf", used, threshold=str(threshold), cams=sha256(cams)))
        work = partial(_write_pseudo_mask, cams, folder, images.classes.palette(), settings.crf, threshold)
        for _ in spread(work, jobs, settings.run.threads, "crf", total=len(jobs)):
            pass
    print(f"{len(jobs)} pseudo masks at threshold {threshold:.3f} ({settings.crf.threshold.policy}): {out}")


def dense_crf(image: np.ndarray, unary: np.ndarray, kernels: Kernels, iterations: int) -> np.ndarray:
    """Probability of every label, float32 (labels, height, width).

    `image` is the plain RGB uint8 (height, width, 3) picture; `unary` are the negative log probabilities
    (labels, height, width), float32.
    """
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError as error:
        raise SemplesError(
            "pydensecrf",
            "not installed",
            "the package that computes the CRF",
            "pip install pydensecrf2, or crf.preset: none",
        ) from error
    labels, height, width = unary.shape
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(labels, -1), dtype=np.float32))
    crf.addPairwiseGaussian(sxy=kernels.gaussian_sxy, compat=kernels.gaussian_compat)
    crf.addPairwiseBilateral(
        sxy=kernels.bilateral_sxy,
        srgb=kernels.bilateral_srgb,
        rgbim=np.ascontiguousarray(image),
        compat=kernels.bilateral_compat,
    )
    return np.asarray(crf.inference(iterations)).reshape(labels, height, width)


def unary_energy(score: np.ndarray, threshold: float, soft: bool) -> np.ndarray:
    """Negative log probabilities float32 (present + 1, h, w), background first.

    Hard: the winner of scores (present, h, w) and the background plane has probability 0.7, the others share the
    rest. Soft: the scores and the plane, scaled to sum to one.
    """
    planes = _planes(score, threshold)
    if soft:
        probability = planes / planes.sum(axis=0, keepdims=True)
    else:
        winner = planes.argmax(axis=0) == np.arange(len(planes))[:, None, None]
        probability = np.where(winner, LABEL_CONFIDENCE, (1 - LABEL_CONFIDENCE) / (len(planes) - 1))
    return -np.log(np.clip(probability, 1e-5, 1)).astype(np.float32)


def _planes(score: np.ndarray, threshold: float) -> np.ndarray:
    """Scores (present, h, w) with the threshold before them as the background's, (present + 1, h, w)."""
    return np.concatenate([np.full_like(score[:1], threshold), score])


def lead(probability: np.ndarray) -> np.ndarray:
    """By how much the most probable label of (labels, h, w) is more probable than the next one, (h, w)."""
    second, first = np.partition(probability, -2, axis=0)[-2:]
    return first - second


def _threshold(settings: Settings, cams: Path, evaluation: Path | None) -> float:
    chosen = settings.crf.threshold
    if evaluation is None:
        expect_masks(settings, judged=set())
        return chosen.value if chosen.policy == "fixed" else label_free_threshold(settings, cams)
    policies = read_json(evaluation, "evaluate")["policies"]
    if chosen.policy not in policies:
        expected = f"one of {', '.join(policies)}"
        raise SemplesError(evaluation, f"no threshold by {chosen.policy!r}", expected, "raise `evaluate.held_out`")
    return policies[chosen.policy]["threshold"]


def _write_pseudo_mask(
    cams: Path, folder: Path, palette: np.ndarray, chosen: Crf, threshold: float, job: tuple[str, str]
) -> None:
    image, photo = job
    with CamFile(cams) as file:
        maps = file.read(image)
    probability = label_probability(maps, photo, chosen, threshold)
    mask = np.concatenate([[0], maps.classes + 1])[probability.argmax(axis=0)]
    path = folder / f"{image}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if chosen.margin or chosen.confidence:
        sure = lead(probability)
        mask = np.where(sure < chosen.margin, IGNORE, mask)
    write_mask(path, mask, palette)
    if chosen.confidence:
        write_image(folder / "confidence" / f"{image}.png", np.rint(255 * sure).astype(np.uint8))


def label_probability(maps: ImageCams, photo: Path, chosen: Crf, threshold: float) -> np.ndarray:
    """How probable background and the present classes are, float32 (present + 1, height, width).

    With the preset `none` the scores themselves, with the threshold as the background's, scaled to sum to one.
    """
    score = maps.full_size()
    if chosen.preset == "none":
        planes = _planes(score, threshold)
        return planes / planes.sum(axis=0, keepdims=True)
    kernels = PRESETS[chosen.preset]
    unary = unary_energy(score, threshold, kernels.soft)
    return dense_crf(read_image(photo), unary, kernels, chosen.iterations)
