"""The training that slm and csr share."""

from pathlib import Path

from semples.data.manifest import Manifest
from semples.files import sha256
from semples.models.tasks import MaskTask
from semples.training.job import LearningJob, adamw, class_weights, learn, used_settings
from semples.training.prompts import load_prompts
from semples.training.selection import epoch_score, training_images
from semples.weights import guide_folder
from semples.weights.generators import trained_generator


def refine(job: LearningJob, guide: Path, start: Path, prompts: Path | None = None) -> None:
    """The step that slm and csr share; csr gives `prompts`."""
    settings, chosen = job.settings, job.training
    images = job.images()
    learned_from = training_images(images, settings)
    model, texts, weights = guide_folder.open_folder(guide, settings)
    generator, origin = trained_generator(settings, len(images.classes), start, "classify")
    task = MaskTask(
        generator,
        model,
        texts["texts"],
        prompts=load_prompts(prompts) if prompts else None,
        w_prompt=chosen.w_prompt if prompts else 0.0,
        **mask_arguments(chosen, learned_from),
    )
    inputs = {"manifest": images.digest(), "guide": weights, "start": origin}
    if prompts:
        inputs["prompts"] = sha256(prompts)
    used = used_settings(settings, "guide", "generator", "selection", job.stage)
    loader = job.loader(learned_from, settings.generator.image_size)
    score = epoch_score(settings, images, generator, model, texts["texts"])
    learn(job, task, loader, adamw(generator, chosen), used, inputs, score)
    job.finish()


def mask_arguments(chosen, images: Manifest) -> dict:
    """What the settings of slm, csr and joint say to their task."""
    return {
        "w_bg": chosen.w_bg,
        "eps": chosen.eps,
        "head_only": chosen.trainable == "head",
        "w_area": chosen.w_area,
        "w_class": chosen.w_class,
        "logit_scale": chosen.logit_scale,
        "class_weights": class_weights(chosen.class_weights, images),
    }
