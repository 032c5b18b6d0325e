"""Write a table as Markdown, LaTeX and HTML, without its index."""

from collections.abc import Callable
from html import escape
from pathlib import Path

import pandas as pd

from semples.files import write_text

_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"±": r"$\pm$", "<": "$<$", ">": "$>$", "|": "$|$"},
    }
)


def markdown(frame: pd.DataFrame) -> str:
    """Return the frame as a Markdown table; cells are written as `str` gives them, on one line and without markup."""
    texts = _texts(frame, lambda text: " ".join(text.replace("<", "&lt;").replace("|", r"\|").splitlines()))
    return texts.to_markdown(index=False, disable_numparse=True) + "\n"


def latex(frame: pd.DataFrame, caption: str, label: str) -> str:
    r"""Return the frame as a LaTeX table, which needs \usepackage{booktabs}."""
    style = _texts(frame, _escape_latex).style.hide(axis="index")
    columns = "l" + "r" * (frame.shape[1] - 1)
    options = {"column_format": columns, "caption": _escape_latex(caption), "label": label}
    return style.to_latex(hrules=True, position_float="centering", **options)


def _escape_latex(text: str) -> str:
    """Return the text as LaTeX prints it; at the start of a row [ and * would be arguments of the line break."""
    return "{}" * text.startswith(("[", "*")) + " ".join(text.translate(_LATEX).splitlines())


def _texts(frame: pd.DataFrame, escape: Callable[[str], str]) -> pd.DataFrame:
    return frame.astype(object).map(lambda cell: escape(str(cell))).rename(columns=escape)


def html(frame: pd.DataFrame, title: str, legend: str) -> str:
    """Return a page with the frame and the lines of its legend."""
    style = "body{font:15px sans-serif;margin:2em}td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:left}"
    text = "".join(f"<p>{escape(line)}</p>" for line in legend.splitlines())
    table = frame.to_html(index=False, border=0)
    return f'<!doctype html><meta charset="utf-8"><title>{escape(title)}</title><style>{style}</style>{table}{text}\n'


def write(frame: pd.DataFrame, out: Path, name: str, title: str, legend: str) -> None:
    """Write `out`/<name>.md, .tex and .html, and print the Markdown."""
    page = f"## {title}\n\n{markdown(frame)}\n{legend}"
    write_text(out / f"{name}.md", page)
    write_text(out / f"{name}.tex", latex(frame, f"{title}. {legend}".replace("\n", " "), f"tab:{name}"))
    write_text(out / f"{name}.html", html(frame, title, f"{title}\n{legend}"))
    print(page)
