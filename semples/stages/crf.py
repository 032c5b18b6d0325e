"""crf: turn CAMs into palette PNG pseudo masks with a dense CRF, in parallel processes."""

from functools import partial
from pathlib import Path

import numpy as np

from semples.config.settings import Crf, Settings
from semples.data.cam_file import CamFile, images_of
from semples.data.images import IGNORE, write_image, write_mask
from semples.errors import SemplesError
from semples.evaluation.evaluation_file import read_evaluation
from semples.evaluation.thresholds import label_free_threshold
from semples.files import atomic_path, sha256, write_json
from semples.inference.crf import label_probability
from semples.planning.graph import require_masks
from semples.provenance import machine, provenance
from semples.runtime.parallel import map_processes


def run(
    settings: Settings, manifest: Path, cams: Path, evaluation: Path | None, out: Path, shard: str | None = None
) -> None:
    """Write the folder `out` with a palette PNG `<id>.png` for every image in `cams`.

    Args:
        evaluation: JSON of `semples evaluate --cams`, which has the threshold of the settings' policy. Without it, as
            without ground truth, the policy must be `fixed` or `label-free`.
        shard: Share of the images, such as "2-of-4"; None for all.
    """
    images = images_of(cams, manifest, shard)
    threshold = _threshold(settings, cams, evaluation)
    jobs = [(row.id, Path(row.image), row.height, row.width) for row in images.table.itertuples()]
    used = settings.model_dump(include={"crf"}, mode="json")
    with atomic_path(out) as folder:
        made_from = provenance("crf", used, threshold=str(threshold), cams=sha256(cams))
        write_json(folder / "provenance.json", made_from | machine(1))  # processes share the images
        work = partial(_write_pseudo_mask, cams, folder, images.classes.palette(), settings.crf, threshold)
        list(map_processes(work, jobs, settings.run.threads, "crf", total=len(jobs)))
    print(f"{len(jobs)} pseudo masks at threshold {threshold:.3f} ({settings.crf.threshold.policy}): {out}")


def _threshold(settings: Settings, cams: Path, evaluation: Path | None) -> float:
    threshold = settings.crf.threshold
    if evaluation is None:
        require_masks(Settings(crf=settings.crf), masked_splits=set())
        return threshold.value if threshold.policy == "fixed" else label_free_threshold(settings, cams)
    policies = {name: result.threshold for name, result in read_evaluation(evaluation).policies.items()}
    if (value := policies.get(threshold.policy)) is None:
        problem, expected = f"no threshold by {threshold.policy!r}", f"an evaluation of CAMs: {', '.join(policies)}"
        raise SemplesError(evaluation, problem, expected, "raise `evaluate.held_out`, or name another file")
    return value


def _write_pseudo_mask(
    cams: Path, folder: Path, palette: np.ndarray, settings: Crf, threshold: float, job: tuple[str, Path, int, int]
) -> None:
    image, photograph, height, width = job
    with CamFile(cams) as file:
        maps = file.read(image, (height, width))
    probability = label_probability(maps, photograph, settings, threshold)
    mask, path = np.concatenate([[0], maps.classes + 1])[probability.argmax(axis=0)], folder / f"{image}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if settings.margin or settings.confidence:
        second, first = np.partition(probability, -2, axis=0)[-2:]
        mask = np.where(first - second < settings.margin, IGNORE, mask)
    write_mask(path, mask, palette)
    if settings.confidence:
        write_image(folder / "confidence" / f"{image}.png", np.rint(255 * (first - second)).astype(np.uint8))
