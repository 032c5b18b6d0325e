"""The training of slm, csr and joint: a generator learns under the guide, in joint together with prompts."""

from pathlib import Path

import torch
from torch.optim import AdamW

from semples.models.tasks import JointTask, MaskTask
from semples.training.job import LearningJob, adamw, class_weights, learn, used_settings
from semples.training.prompts import learned_embeddings, load_prompts, new_bank, write_prompts
from semples.training.selection import epoch_score, training_images
from semples.weights import guide_folder
from semples.weights.generators import save_module, trained_generator
from semples.weights.tensor_file import digest_tensors


def refine(job: LearningJob, guide: Path, start: Path, prompts: Path | None = None) -> None:
    """Train the generator `start` under the guide; write the outputs of the stage into the job's folder.

    Args:
        guide: Folder that `semples guide` wrote.
        start: model.safetensors of classify.
        prompts: prompts.safetensors of cpl, from which csr leads away; slm has none, and joint learns its own.
    """
    settings, cpl, joint = job.settings, job.settings.cpl, job.stage == "joint"
    stage = settings.slm if job.stage == "slm" else settings.csr
    images = job.images()
    learned_from = training_images(images, settings)
    model, texts, weights = guide_folder.open_folder(guide, settings, images.classes)
    generator, origin = trained_generator(settings, len(images.classes), start, "classify")
    inputs = {"manifest": images.digest(), "guide": weights, "start": origin}
    terms = stage.model_dump(include={"w_bg", "eps", "w_area", "w_class", "w_prompt", "logit_scale", "drop_path"})
    terms |= {"head_only": stage.trainable == "head", "class_weights": class_weights(stage.class_weights, learned_from)}
    if prompts:
        terms["prompts"] = load_prompts(prompts, len(images.classes))
        inputs["prompts"] = digest_tensors({"embeddings": terms["prompts"]})
    if joint:
        torch.manual_seed(job.seed)
        bank = new_bank(cpl, texts["texts"], model)
        terms |= {"final_period": cpl.final_period, "prompt_terms": cpl.model_dump(include={"w_text", "text_term"})}
        task: MaskTask = JointTask(generator, bank, model, texts["texts"], **terms)
        optimizer = AdamW(adamw(generator, stage).param_groups + adamw(bank, cpl).param_groups, eps=1e-8, fused=True)
    else:
        task = MaskTask(generator, model, texts["texts"], **terms)
        optimizer = adamw(generator, stage)
    used = used_settings(settings, "guide", "generator", "selection", *(("csr", "cpl") if joint else (job.stage,)))
    batches = job.batches(learned_from, generator)
    score = epoch_score(settings, images, generator, model, texts["texts"])
    made_from = learn(job, task, batches, optimizer, used, inputs, score=score)
    if joint:
        save_module(generator, job.out / "model.safetensors", made_from)
        embeddings, words = learned_embeddings(bank, model, cpl), guide_folder.words_of(guide)
        write_prompts(embeddings, texts["words"], words, images.classes, made_from, job.out)
    job.finish()
