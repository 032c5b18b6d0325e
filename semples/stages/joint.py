"""joint: prompts and generator learn together, for comparison with cpl followed by csr."""

from pathlib import Path

import torch
from torch.optim import AdamW

from semples.config.settings import Settings
from semples.errors import SemplesError
from semples.models.tasks import JointTask
from semples.training.job import LearningJob, adamw, learn, used_settings
from semples.training.prompts import new_bank, write_prompts
from semples.training.refinement import mask_arguments
from semples.training.selection import epoch_score, training_images
from semples.weights import guide_folder
from semples.weights.generators import save_module, trained_generator


def run(settings: Settings, seed: int, manifest: Path, guide: Path, start: Path, out: Path) -> None:
    """Train the generator `start` together with new prompts; write the outputs of csr and of cpl into `out`.

    The settings of csr apply to the loop and the generator, those of cpl to the prompts and their learning rate.
    """
    if settings.cpl.source == "manual":
        raise SemplesError("cpl.source", "'manual' with joint", "'learned'", "use csr for prompts written by hand")
    job = LearningJob(settings, "joint", seed, manifest, out)
    images, csr, cpl = job.images(), settings.csr, settings.cpl
    learned_from = training_images(images, settings)
    model, texts, weights = guide_folder.open_folder(guide, settings)
    generator, origin = trained_generator(settings, len(images.classes), start, "classify")
    torch.manual_seed(seed)
    bank = new_bank(cpl, len(images.classes), model)
    task = JointTask(
        generator,
        bank,
        model,
        texts["texts"],
        w_prompt=csr.w_prompt,
        prompt_terms={"w_text": cpl.w_text, "text_term": cpl.text_term},
        final_period=cpl.final_period,
        **mask_arguments(csr, learned_from),
    )
    inputs = {"manifest": images.digest(), "guide": weights, "start": origin}
    used = used_settings(settings, "guide", "generator", "selection", "csr", "cpl")
    optimizer = AdamW(adamw(generator, csr).param_groups + adamw(bank, cpl).param_groups, eps=1e-8, fused=True)
    batches = job.batches(learned_from, settings.generator.image_size)
    score = epoch_score(settings, images, generator, model, texts["texts"])
    made_from = learn(job, task, batches, optimizer, used, inputs, score)
    save_module(generator, out / "model.safetensors", made_from)
    with torch.no_grad():
        embeddings = bank.cpu().encode(model.cpu(), cpl.final_period).unsqueeze(1)
    write_prompts(embeddings, texts["words"], guide_folder.words_of(guide), images.classes, made_from, out)
    job.finish()
