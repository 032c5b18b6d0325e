"""Draw the words nearest to learned prompts, beside words written by hand."""

from pathlib import Path

import pandas as pd

from semples.figure_style import COLOURS, PAGE, save_figure, small_multiples
from semples.files import require

_SHOWN = 5  # words of a class
_COLUMNS = 3


def run(words: Path, manual: dict[str, list[str]], out: Path) -> None:
    """Draw the cosine of the nouns nearest to each class's learned prompt; those written by hand have another colour.

    Args:
        words: words.csv of `semples cpl`.
        manual: Words written by hand, by class; under "" those of all other classes.
    """
    frame = pd.read_csv(require(words, "cpl"))
    groups = list(frame[frame["list"] == "nearest"].groupby("class", sort=False))
    figure, axes = small_multiples(len(groups), _COLUMNS, height=1.15)
    figure.set_figwidth(PAGE * min(_COLUMNS, len(groups)) / _COLUMNS)
    shown = pd.concat([group.head(_SHOWN) for _, group in groups])["cosine"]
    for axis, (name, group) in zip(axes, groups, strict=True):
        first, by_hand = group.head(_SHOWN)[::-1], manual.get(name, manual.get("", []))
        colours = [COLOURS[3] if word in by_hand else COLOURS[5] for word in first["word"]]
        axis.barh(first["word"], first["cosine"], color=colours, height=0.7)
        axis.set_xlim(min(0, 1.1 * shown.min()), max(0, 1.1 * shown.max()))
        axis.set_title(_title(name, by_hand), fontsize=7)
        axis.tick_params(labelsize=6.5)
    figure.supxlabel("cosine of the learned prompt and “a photo of <word>.”", fontsize=7)
    save_figure(figure, out)


def _title(name: str, by_hand: list[str]) -> str:
    """Return the class and its first words by hand."""
    more = ", ..." if len(by_hand) > 2 else ""
    return f"{name}  (by hand: {', '.join(by_hand[:2])}{more})" if by_hand else name
