"""slm: segment-label matching. The guide teaches the generator to find what the class name means."""

from pathlib import Path

from semples.files import sha256
from semples.models.tasks import MaskTask
from semples.settings import Settings
from semples.stages import guide as guide_stage
from semples.stages.learning import Job, adamw, learn, load_prompts, trained_generator, used_settings


def run(settings: Settings, seed: int, manifest: Path, guide: Path, start: Path, out: Path) -> None:
    """Train the generator `start` under the guide; write `out`/model.safetensors and metrics.jsonl."""
    refine(Job(settings, "slm", seed, manifest, out), guide, start)


def refine(job: Job, guide: Path, start: Path, prompts: Path | None = None) -> None:
    """The step that slm and csr share; csr gives `prompts`."""
    settings, chosen = job.settings, job.training
    images = job.images()
    model, texts, weights = guide_stage.open_folder(guide, settings)
    generator, origin = trained_generator(settings, len(images.classes), start, "classify")
    task = MaskTask(
        generator,
        model,
        texts["texts"],
        w_bg=chosen.w_bg,
        eps=chosen.eps,
        head_only=chosen.trainable == "head",
        prompts=load_prompts(prompts) if prompts else None,
        w_prompt=chosen.w_prompt if prompts else 0.0,
    )
    inputs = {"manifest": images.digest(), "guide": weights, "start": origin}
    if prompts:
        inputs["prompts"] = sha256(prompts)
    used = used_settings(settings, "guide", "generator", job.stage)
    learn(job, task, job.loader(images, settings.generator.image_size), adamw(generator, chosen), used, inputs)
