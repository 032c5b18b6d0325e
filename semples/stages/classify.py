"""classify: a multi-label classifier whose maps everything starts from."""

from pathlib import Path

import torch

from semples.config.settings import Settings
from semples.models.tasks import ClassifyTask
from semples.training.job import LearningJob, adamw, learn, used_settings
from semples.weights.generators import new_generator


def run(settings: Settings, seed: int, manifest: Path, out: Path) -> None:
    """Train a generator from ImageNet weights on image-level labels; write `out`/model.safetensors, metrics.jsonl."""
    job = LearningJob(settings, "classify", seed, manifest, out)
    images = job.images()
    torch.manual_seed(seed)
    generator = new_generator(settings, len(images.classes))
    task = ClassifyTask(generator, head_only=settings.classify.trainable == "head")
    optimizer = adamw(generator, settings.classify, generator.map_head(), settings.classify.head_lr_factor)
    loader = job.loader(images, settings.generator.image_size)
    used = used_settings(settings, "generator", "classify")
    learn(job, task, loader, optimizer, used, {"manifest": images.digest()})
    job.finish()
