"""Untrained prompts, and the files of learned ones."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from semples.config.settings import Prompts
from semples.data.csv_file import write_csv
from semples.data.manifest import Classes
from semples.errors import SemplesError
from semples.models.guide import Guide
from semples.models.prompts import Bank, EmbeddingBank, PromptBank, word_cosines
from semples.weights.tensor_file import read_tensors, save_tensors

WORDS_LISTED = 10
COLUMNS = ["class", "list", "rank", "word", "cosine", "lift"]


def new_bank(settings: Prompts, texts: Tensor, guide: Guide) -> Bank:
    """Return untrained prompts, one per class or one that all classes share.

    Args:
        texts: Embeddings of the class names, (classes, width).
    """
    classes, width = texts.shape
    if settings.source == "embedding":
        return EmbeddingBank(classes, width, settings.shared)
    initial = guide.token_vectors(settings.initial) if settings.initial else None
    return PromptBank(classes, settings.length, guide.width, initial, settings.shared)


@torch.no_grad()
def learned_embeddings(bank: Bank, guide: Guide, settings: Prompts) -> Tensor:
    """Return the embeddings (classes, 1, width) of learned prompts; bank and guide move to the CPU."""
    return bank.cpu().encode(guide.cpu(), settings.final_period).unsqueeze(1)


def write_prompts(
    embeddings: Tensor, vectors: Tensor, vocabulary: list[str], classes: Classes, made_from: dict[str, str], out: Path
) -> None:
    """Write `out`/prompts.safetensors, and `out`/words.csv: the nearest and the most distinctive words per class.

    Args:
        embeddings: (classes, phrases, width), L2-normalised.
        vectors: Embeddings (words, width) of the `vocabulary`, L2-normalised.
        made_from: Provenance, the metadata of prompts.safetensors.
    """
    save_tensors({"embeddings": embeddings}, out / "prompts.safetensors", made_from)
    mean = torch.nn.functional.normalize(embeddings.mean(dim=1), dim=-1)
    cosine, lift = word_cosines(mean, vectors)
    rows = [
        (name, title, rank, vocabulary[index], *(round(values[k, index].item(), 4) for values in (cosine, lift)))
        for k, name in enumerate(classes.names)
        for title, measure in (("nearest", cosine), ("distinctive", lift))
        for rank, index in enumerate(measure[k].topk(min(WORDS_LISTED, len(vocabulary))).indices.tolist(), start=1)
    ]
    write_csv(out / "words.csv", pd.DataFrame(rows, columns=COLUMNS))


def load_prompts(path: Path, classes: int) -> Tensor:
    """Return the prompt embeddings of the classes that cpl wrote: (classes, phrases, width), L2-normalised."""
    embeddings = read_tensors(path, "cpl", "embeddings")["embeddings"]
    if len(embeddings) != classes:
        remedy = "name the prompts.safetensors that cpl wrote for this data set"
        raise SemplesError(path, f"{len(embeddings)} classes", f"prompts of {classes} classes", remedy)
    return embeddings
