"""The table of the words nearest to the prompts."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from semples.files import write_text
from semples.stages.tables.formats import html, markdown

NAME = "words"


def run(words: Iterable[tuple[str, int, Path]], out: Path) -> None:
    """Write `out`/words.md and .html: the three nearest and the three most distinctive words of every prompt.

    Args:
        words: (variant, seed, words.csv of `semples cpl`).
    """
    rows = []
    for variant, seed, path in words:
        for name, group in pd.read_csv(path).groupby("class", sort=False):
            rows.append([variant, seed, name, _three(group, "nearest", "cosine"), _three(group, "distinctive", "lift")])
    columns = ["variant", "seed", "class", "nearest words (cosine)", "distinctive words (lift)"]
    frame = pd.DataFrame(rows, columns=columns)
    write_text(out / f"{NAME}.md", markdown(frame))
    write_text(out / f"{NAME}.html", html(frame, "Words", ""))


def _three(group: pd.DataFrame, title: str, by: str) -> str:
    first = group[group["list"] == title].head(3)
    return ", ".join(f"{word} ({value:.2f})" for word, value in zip(first["word"], first[by], strict=True))
