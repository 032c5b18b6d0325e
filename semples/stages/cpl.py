"""cpl: contrastive prompt learning. A prompt per class learns the background that accompanies the class."""

from pathlib import Path

import torch
from torch import Tensor

from semples.config.settings import Prompts, Settings
from semples.data.cam_file import CamFile
from semples.data.foreign_maps import CamFolder, cams_digest, open_cams
from semples.data.manifest import Classes, Manifest
from semples.errors import SemplesError
from semples.files import write_text
from semples.models.guide import Guide
from semples.models.tasks import PromptTask
from semples.provenance import machine, provenance
from semples.training.background_cache import with_backgrounds
from semples.training.job import LearningJob, adamw, class_weights, learn, used_settings
from semples.training.prompts import learned_embeddings, new_bank, write_prompts
from semples.weights import guide_folder
from semples.weights.generators import trained_generator


def run(
    settings: Settings,
    seed: int,
    manifest: Path,
    guide: Path,
    generator: Path | None,
    out: Path,
    maps: Path | None = None,
) -> None:
    """Write `out`/prompts.safetensors, words.csv and metrics.jsonl, which is empty with `cpl.source: manual`.

    The prompts learn from the maps of `generator`, from the guide's own `maps` with `cpl.start: guide`, or from the
    CAMs of another method that `cpl.start` names.
    prompts.safetensors has `embeddings` (classes, phrases, width), L2-normalised. A learned prompt is one phrase; its
    vectors are in `out`/model.safetensors. words.csv lists the words nearest to the prompts of every class by cosine,
    and the most distinctive ones by lift (semples.models.prompts.word_cosines).
    """
    job = LearningJob(settings, "cpl", seed, manifest, out)
    images = job.images()
    model, texts, weights = guide_folder.open_folder(guide, settings, images.classes)
    inputs = {"manifest": images.digest(), "guide": weights}
    if settings.cpl.source == "manual":
        embeddings = _manual(model, settings, images.classes)
        write_text(out / "metrics.jsonl", "")
    else:
        source = generator or open_cams(_start(settings.cpl, maps), images, settings.cpl.start_maps)
        embeddings, inputs["start"] = _learned(job, images, model, texts["texts"], source, inputs)
    made_from = provenance("cpl", used_settings(settings, "guide", "cpl"), seed=str(seed), **inputs)
    made_from |= machine(settings.run.threads, settings.run.device)
    write_prompts(embeddings, texts["words"], guide_folder.words_of(guide), images.classes, made_from, out)
    job.finish()


def _learned(
    job: LearningJob,
    images: Manifest,
    model: Guide,
    texts: Tensor,
    source: Path | CamFile | CamFolder,
    inputs: dict[str, str],
) -> tuple[Tensor, str]:
    """Train prompts; return their embeddings (classes, 1, width) and the digest of the maps they learned from.

    Args:
        source: model.safetensors of a generator, or CAMs.
    """
    settings, cpl = job.settings, job.settings.cpl
    cams, frozen = None, None
    if isinstance(source, Path):
        frozen, origin = trained_generator(settings, len(images.classes), source, "slm")
    else:
        cams, origin = source, cams_digest(source.path)
    torch.manual_seed(job.seed)
    bank = new_bank(cpl, texts, model)
    terms = cpl.model_dump(include={"w_text", "text_term", "eps", "final_period"})
    task = PromptTask(bank, frozen, model, texts, class_weights=class_weights(cpl.class_weights, images), **terms)
    batches = with_backgrounds(job, task, job.batches(images, frozen, cams), images)
    used = used_settings(settings, "guide", "generator", "cpl")
    learn(job, task, batches, adamw(bank, cpl), used, inputs | {"start": origin})
    return learned_embeddings(bank, model, cpl), origin


def _start(cpl: Prompts, maps: Path | None) -> Path:
    """Return the file or folder of CAMs from which the prompts start without a generator."""
    if cpl.start == "guide" and maps:
        return maps
    if path := cpl.start_file():
        return Path(path)
    missing, flag = ("maps", "--maps") if cpl.start == "guide" else ("generator", "--generator")
    expected, remedy = f"the {missing} of that stage, or CAMs", f"give {flag}, or a path in `cpl.start`"
    raise SemplesError("cpl.start", f"{cpl.start!r}, and no {missing}", expected, remedy)


@torch.no_grad()
def _manual(model: Guide, settings: Settings, classes: Classes) -> Tensor:
    """Return embeddings (classes, phrases, width) of the words in the settings; short lists repeat to the longest."""
    cpl = settings.cpl
    lists = [cpl.manual_by_class.get(name, cpl.manual) for name in classes.names]
    if empty := [name for name, phrases in zip(classes.names, lists, strict=True) if not phrases]:
        remedy = "fill `manual` or `manual_by_class`"
        raise SemplesError("cpl.manual", f"no word for class {empty[0]!r}", "words for every class", remedy)
    longest = max(map(len, lists))
    phrases = [settings.guide.template.format(nouns[i % len(nouns)]) for nouns in lists for i in range(longest)]
    return model.encode_text(phrases).unflatten(0, (len(classes), longest))
