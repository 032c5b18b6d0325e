"""The training that slm and csr share."""

from pathlib import Path
from typing import Any

from semples.config.settings import SegmentLabel
from semples.data.manifest import Manifest
from semples.files import sha256
from semples.models.tasks import MaskTask
from semples.training.job import LearningJob, adamw, class_weights, learn, used_settings
from semples.training.prompts import load_prompts
from semples.training.selection import epoch_score, training_images
from semples.weights import guide_folder
from semples.weights.generators import trained_generator


def refine(job: LearningJob, guide: Path, start: Path, prompts: Path | None = None) -> None:
    """Train the generator `start` under the guide; write model.safetensors and metrics.jsonl into the job's folder.

    Args:
        guide: Folder that `semples guide` wrote.
        start: model.safetensors of classify.
        prompts: prompts.safetensors of cpl; csr learns away from them, slm has none.
    """
    settings, stage = job.settings, job.settings.csr if prompts else job.settings.slm
    images = job.images()
    learned_from = training_images(images, settings)
    model, texts, weights = guide_folder.open_folder(guide, settings)
    generator, origin = trained_generator(settings, len(images.classes), start, "classify")
    terms = mask_arguments(stage, learned_from)
    inputs = {"manifest": images.digest(), "guide": weights, "start": origin}
    if prompts:
        terms |= {"prompts": load_prompts(prompts), "w_prompt": settings.csr.w_prompt}
        inputs["prompts"] = sha256(prompts)
    task = MaskTask(generator, model, texts["texts"], **terms)
    used = used_settings(settings, "guide", "generator", "selection", job.stage)
    batches = job.batches(learned_from, settings.generator.image_size)
    score = epoch_score(settings, images, generator, model, texts["texts"])
    learn(job, task, batches, adamw(generator, stage), used, inputs, score)
    job.finish()


def mask_arguments(settings: SegmentLabel, images: Manifest) -> dict[str, Any]:
    """Return the arguments of MaskTask and JointTask that are settings; `images` are those that train."""
    terms = settings.model_dump(include={"w_bg", "eps", "w_area", "w_class", "logit_scale"})
    weights = class_weights(settings.class_weights, images)
    return {**terms, "head_only": settings.trainable == "head", "class_weights": weights}
