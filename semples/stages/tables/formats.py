"""Tables as text: Markdown, LaTeX and HTML, a line a row, without an index."""

from html import escape
from pathlib import Path

import pandas as pd

from semples.files import write_text

LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "<": "$<$",
        ">": "$>$",
    }
)


def markdown(frame: pd.DataFrame) -> str:
    """The frame as a Markdown table."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(object).values.tolist()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def latex(frame: pd.DataFrame, caption: str, label: str) -> str:
    r"""The frame as a LaTeX table; it needs \usepackage{booktabs}."""
    rows = [" & ".join(str(cell).translate(LATEX) for cell in line) for line in [frame.columns, *frame.to_numpy()]]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption.translate(LATEX)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (frame.shape[1] - 1)}}}",
        r"\toprule",
        rf"{rows[0]} \\",
        r"\midrule",
        *(rf"{row} \\" for row in rows[1:]),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def html(frame: pd.DataFrame, title: str, legend: str) -> str:
    """The frame and the lines of its legend as a page."""
    style = "body{font:15px sans-serif;margin:2em}td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:left}"
    text = "".join(f"<p>{escape(line)}</p>" for line in legend.splitlines())
    table = frame.to_html(index=False, border=0)
    return f'<!doctype html><meta charset="utf-8"><title>{escape(title)}</title><style>{style}</style>{table}{text}\n'


def write(frame: pd.DataFrame, out: Path, name: str, title: str, legend: str) -> None:
    """Write `out`/<name>.md, .tex and .html, and print the first."""
    page = f"## {title}\n\n{markdown(frame)}\n{legend}"
    write_text(out / f"{name}.md", page)
    write_text(out / f"{name}.tex", latex(frame, f"{title}. {legend}".replace("\n", " "), f"tab:{name}"))
    write_text(out / f"{name}.html", html(frame, title, f"{title}\n{legend}"))
    print(page)
