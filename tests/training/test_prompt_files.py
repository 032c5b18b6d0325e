"""The words that learned prompts are near to."""

import pandas as pd
import pytest
import torch

from semples.data.manifest import Classes
from semples.errors import SemplesError
from semples.training.prompts import WORDS_LISTED, load_prompts, write_prompts

NAMES = Classes(("dog", "cat"), ("dog", "cat"), ("#ff0000", "#00ff00"))


def test_words_are_the_nearest_and_the_most_distinctive_ones(tmp_path):
    spoken = [f"word {number}" for number in range(WORDS_LISTED + 4)]
    vectors = torch.eye(len(spoken))
    dog = 0.8 * vectors[3] + 0.6 * vectors[5]
    cat = 0.8 * vectors[3] + 0.6 * vectors[7]
    write_prompts(torch.stack([dog, cat])[:, None], vectors, spoken, NAMES, {"seed": "0"}, tmp_path)
    rows = pd.read_csv(tmp_path / "words.csv")
    assert rows.groupby(["class", "list"]).size().tolist() == [WORDS_LISTED] * 4
    first = {(row["class"], row["list"], row["rank"]): (row["word"], row["cosine"]) for _, row in rows.iterrows()}
    assert first["dog", "nearest", 1] == ("word 3", 0.8)
    assert first["dog", "nearest", 2] == ("word 5", 0.6)
    assert first["cat", "nearest", 2] == ("word 7", 0.6)
    assert first["dog", "distinctive", 1] == ("word 5", 0.6)
    assert first["cat", "distinctive", 1] == ("word 7", 0.6)
    assert load_prompts(tmp_path / "prompts.safetensors", 2).shape == (2, 1, len(spoken))
    with pytest.raises(SemplesError, match="found:    2 classes"):
        load_prompts(tmp_path / "prompts.safetensors", 3)
