"""classify: a multi-label classifier, whose maps are the start of all that follows."""

from pathlib import Path

import torch

from semples.config.settings import Settings
from semples.models.tasks import ClassifyTask
from semples.training.job import LearningJob, adamw, learn, used_settings
from semples.weights.generators import bare_generator, load_weights, weights_digest, weights_file


def run(settings: Settings, seed: int, manifest: Path, out: Path, weights: Path | None = None) -> None:
    """Train a generator on image-level labels; write `out`/model.safetensors and metrics.jsonl.

    Args:
        weights: File of `semples weights`, from which the backbone starts with `generator.weights: timm`.
    """
    job = LearningJob(settings, "classify", seed, manifest, out)
    images = job.images()
    torch.manual_seed(seed)
    generator = bare_generator(settings.generator, len(images.classes))
    if start := weights_file(settings.generator, weights):
        load_weights(generator, start)
    task = ClassifyTask(generator, head_only=settings.classify.trainable == "head")
    optimizer = adamw(generator, settings.classify, generator.map_head(), settings.classify.head_lr_factor)
    batches = job.batches(images, generator)
    used = used_settings(settings, "generator", "classify")
    learn(job, task, batches, optimizer, used, {"manifest": images.digest(), **weights_digest(start)})
    job.finish()
