"""cpl: contrastive prompt learning. One prompt a class learns what surrounds the class."""

from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save_file

from semples.config.settings import Prompts, Settings
from semples.data.cam_file import cams_digest, open_cams
from semples.data.manifest import Classes, Manifest
from semples.errors import SemplesError
from semples.files import atomic_path, provenance, write_text
from semples.models.guide import Guide
from semples.models.prompts import PromptBank, word_cosines
from semples.models.tasks import PromptTask
from semples.stages import guide as guide_stage
from semples.training.job import Job, adamw, class_weights, learn, used_settings
from semples.weights.generators import trained_generator

WORDS_KEPT = 10


def run(settings: Settings, seed: int, manifest: Path, guide: Path, generator: Path | None, out: Path) -> None:
    """Write `out`/prompts.safetensors, words.csv and metrics.jsonl (empty where nothing is learned).

    The prompts learn from the maps of `generator`, or from the CAMs that `cpl.start` names.
    prompts.safetensors has `embeddings` (classes, phrases, width), L2-normalised; a learned prompt is one phrase, and
    its vectors are in `out`/model.safetensors. words.csv has the words nearest to each class's prompts by cosine, and
    the most distinctive ones by lift (semples.models.prompts.word_cosines).
    """
    job = Job(settings, "cpl", seed, manifest, out)
    images = job.images()
    model, texts, weights = guide_stage.open_folder(guide, settings)
    inputs = {"manifest": images.digest(), "guide": weights}
    if settings.cpl.source == "manual":
        embeddings = _manual(model, settings, images.classes)
        write_text(out / "metrics.jsonl", "")
    else:
        embeddings, inputs["start"] = _learned(job, images, model, texts["texts"], generator, inputs)
    made_from = provenance("cpl", used_settings(settings, "guide", "cpl"), seed=str(seed), **inputs)
    write_prompts(embeddings, texts["words"], guide_stage.words_of(guide), images.classes, made_from, out)


def new_bank(chosen: Prompts, classes: int, guide: Guide) -> PromptBank:
    """The prompts as they start."""
    initial = guide.token_vectors(chosen.initial) if chosen.initial else None
    return PromptBank(classes, chosen.length, guide.width, initial, chosen.shared)


def write_prompts(
    embeddings: torch.Tensor,
    words: torch.Tensor,
    spoken: list[str],
    classes: Classes,
    made_from: dict[str, str],
    out: Path,
) -> None:
    """Write `out`/prompts.safetensors and words.csv; `words` (words, width) are the embeddings of `spoken`."""
    with atomic_path(out / "prompts.safetensors") as partial:
        save_file({"embeddings": embeddings}, partial, metadata=made_from)
    _write_words(embeddings, words, spoken, classes, out / "words.csv")


def _learned(
    job: Job, images: Manifest, model: Guide, texts: torch.Tensor, generator: Path | None, inputs: dict[str, str]
) -> tuple[torch.Tensor, str]:
    """Embeddings (classes, 1, width) of the prompts, and the digest of the maps they learned from."""
    settings, chosen = job.settings, job.settings.cpl
    cams, frozen = None, None
    if generator is None and chosen.start in ("classify", "slm"):
        raise SemplesError(
            "cpl.start",
            f"{chosen.start!r}, and no generator",
            "the generator of that stage, or CAMs",
            "give --generator, or a path in `cpl.start`",
        )
    if generator is None:
        cams = open_cams(Path(chosen.start), images)
        origin = cams_digest(cams.path)
    else:
        frozen, origin = trained_generator(settings, len(images.classes), generator, "slm")
    torch.manual_seed(job.seed)
    bank = new_bank(chosen, len(images.classes), model)
    task = PromptTask(
        bank,
        frozen,
        model,
        texts,
        w_text=chosen.w_text,
        text_term=chosen.text_term,
        eps=chosen.eps,
        dot=chosen.dot,
        class_weights=class_weights(chosen.class_weights, images),
    )
    loader = job.loader(images, settings.generator.image_size, cams)
    used = used_settings(settings, "guide", "generator", "cpl")
    learn(job, task, loader, adamw(bank, chosen), used, inputs | {"start": origin})
    with torch.no_grad():
        return bank.cpu().encoded(model.cpu(), chosen.dot).unsqueeze(1), origin


@torch.no_grad()
def _manual(model: Guide, settings: Settings, classes: Classes) -> torch.Tensor:
    """Embeddings (classes, phrases, width) of the words in the settings; a short list is repeated to the longest."""
    chosen = settings.cpl
    lists = [chosen.manual_by_class.get(name, chosen.manual) for name in classes.names]
    if empty := [name for name, words in zip(classes.names, lists, strict=True) if not words]:
        raise SemplesError(
            "cpl.manual",
            f"no word for class {empty[0]!r}",
            "words for every class",
            "fill `manual` or `manual_by_class`",
        )
    longest = max(map(len, lists))
    phrases = [settings.guide.template.format(words[i % len(words)]) for words in lists for i in range(longest)]
    return model.encode_text(phrases).unflatten(0, (len(classes), longest))


def _write_words(embeddings: torch.Tensor, words: torch.Tensor, spoken: list[str], classes: Classes, out: Path) -> None:
    cosine, lift = word_cosines(torch.nn.functional.normalize(embeddings.mean(dim=1), dim=-1), words)
    rows = [
        {
            "class": name,
            "list": title,
            "rank": rank + 1,
            "word": spoken[place],
            "cosine": round(cosine[k, place].item(), 4),
            "lift": round(lift[k, place].item(), 4),
        }
        for k, name in enumerate(classes.names)
        for title, measure in (("nearest", cosine), ("distinctive", lift))
        for rank, place in enumerate(measure[k].topk(min(WORDS_KEPT, len(spoken))).indices.tolist())
    ]
    with atomic_path(out) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)
