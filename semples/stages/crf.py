"""crf: dense CRF turns CAMs into palette PNG pseudo masks, in parallel processes."""

from functools import partial
from pathlib import Path

import numpy as np

from semples.config.settings import Crf, Settings
from semples.data.cam_file import CamFile
from semples.data.images import IGNORE, write_image, write_mask
from semples.data.manifest import read_manifest
from semples.errors import SemplesError
from semples.evaluation.thresholds import label_free_threshold
from semples.files import atomic_path, read_json, remove_leftovers, sha256, write_json
from semples.inference.crf import label_margin, label_probability
from semples.planning.graph import require_masks
from semples.provenance import provenance
from semples.runtime.parallel import map_processes, shard_slice


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
        file.require_classes(images.classes.names)
        ids = file.ids[shard_slice(shard, len(file.ids))]
    photos = images.table.set_index("id")["image"]
    jobs = [(image, photos[image]) for image in ids]
    used = settings.model_dump(include={"crf"}, mode="json")
    remove_leftovers(out)
    with atomic_path(out) as folder:
        write_json(folder / "provenance.json", provenance("crf", used, threshold=str(threshold), cams=sha256(cams)))
        work = partial(_write_pseudo_mask, cams, folder, images.classes.palette(), settings.crf, threshold)
        for _ in map_processes(work, jobs, settings.run.threads, "crf", total=len(jobs)):
            pass
    print(f"{len(jobs)} pseudo masks at threshold {threshold:.3f} ({settings.crf.threshold.policy}): {out}")


def _threshold(settings: Settings, cams: Path, evaluation: Path | None) -> float:
    chosen = settings.crf.threshold
    if evaluation is None:
        require_masks(settings, masked_splits=set())
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
        sure = label_margin(probability)
        mask = np.where(sure < chosen.margin, IGNORE, mask)
    write_mask(path, mask, palette)
    if chosen.confidence:
        write_image(folder / "confidence" / f"{image}.png", np.rint(255 * sure).astype(np.uint8))
