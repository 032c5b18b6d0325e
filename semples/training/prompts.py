"""Prompts: new ones, and the files that hold learned ones."""

from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from semples.config.settings import Prompts
from semples.data.manifest import Classes
from semples.files import atomic_path, require
from semples.models.guide import Guide
from semples.models.prompts import PromptBank, word_cosines

WORDS_KEPT = 10


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


def load_prompts(path: Path) -> torch.Tensor:
    """Prompt embeddings (classes, phrases, width) that cpl wrote."""
    return load_file(require(path, "cpl"))["embeddings"]
