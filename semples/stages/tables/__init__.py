"""tables: evaluations, words and benchmark files as CSV, Markdown, LaTeX and HTML."""

from semples.stages.tables import cost, paper, results, words

__all__ = ["cost", "paper", "results", "words"]
