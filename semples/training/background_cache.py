"""Embeddings of the backgrounds that the frozen generator of cpl leaves, computed once for all epochs.

They can be kept where the augmentation shows every image whole in every epoch, as it is or mirrored.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from semples.data.augment import is_mirrored, label_transform
from semples.data.manifest import Manifest
from semples.data.training_images import TrainingBatches, TrainingImages, label_targets
from semples.models.tasks import PromptTask
from semples.runtime.cpu import quick_steps
from semples.runtime.devices import make_fabric
from semples.training.feature_cache import FeatureFile
from semples.training.job import LearningJob

log = logging.getLogger(__name__)


def with_backgrounds(job: LearningJob, task: PromptTask, batches: TrainingBatches, images: Manifest) -> TrainingBatches:
    """Return batches that have the embeddings of the backgrounds in place of images, computed now.

    The batches stay as they are, with a line in the log, where that is not possible or saves nothing.
    """
    cpl, run = job.settings.cpl, job.settings.run
    if reason := _obstacle(job):
        log.info("cpl embeds the backgrounds in every epoch, as %s", reason)
        return batches
    torch.set_num_threads(run.threads)
    mirrors = (False, True)[: cpl.cached_views()]
    counts = images.label_matrix().astype(bool).sum(axis=1).tolist()
    views = [torch.cat(list(_embeddings(job, task, batches.dataset, flip))).split(counts) for flip in mirrors]
    known = partial(_of_image, views, cpl.augment.flip)
    dataset = TrainingImages(batches.dataset.ids, None, label_targets(images), _whole(job, False), backgrounds=known)
    return TrainingBatches(dataset, cpl.batch, job.seed, run.workers)


def _obstacle(job: LearningJob) -> str:
    """Return why the embeddings are not kept, "" if they are."""
    if changes := job.settings.cpl.augment.changes():
        return f"`augment.{changes[0]}` changes the images"
    if not job.settings.cpl.cached_views():
        return "there are few epochs"
    return "processes share the batches" if job.settings.run.devices > 1 else ""


def _embeddings(job: LearningJob, task: PromptTask, dataset: TrainingImages, mirrored: bool) -> Iterator[Tensor]:
    """Yield the embeddings of the backgrounds of all images, or of their mirror images, float32 (pairs, width)."""
    settings, cpl = job.settings, job.settings.cpl
    stored = dataset.features
    features = FeatureFile(stored.path, float(mirrored)) if isinstance(stored, FeatureFile) else None
    dataset = replace(dataset, transform=_whole(job, mirrored), features=features)
    size = -(-cpl.batch // cpl.accumulate)
    batches = TrainingBatches(dataset, size, job.seed, settings.run.workers, in_order=True)
    fabric = make_fabric(settings.run.device, settings.precision)
    task.to(fabric.device).eval()
    name = "backgrounds, mirrored" if mirrored else "backgrounds"
    for batch in tqdm(batches.start(0, 0, fabric.device), desc=name, total=len(batches), unit="batch", mininterval=2):
        with fabric.autocast(), quick_steps(fabric.device):
            yield task.backgrounds(batch).float().cpu()


def _whole(job: LearningJob, mirrored: bool) -> Callable:
    """Return the augmentation that shows an image whole, or its mirror image."""
    return label_transform(job.settings.generator.image_size, (1, 1), float(mirrored), randaugment=0, erasing=0)


def _of_image(views: list[tuple[Tensor, ...]], flip: float, index: int, seed: int) -> Tensor:
    """Return the embeddings of image `index` under an augmentation seed, (pairs, width)."""
    return views[is_mirrored(seed, flip)][index]
