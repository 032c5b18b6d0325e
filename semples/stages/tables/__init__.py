"""tables: evaluations, words and benchmark files as CSV, Markdown, LaTeX and HTML."""

from semples.stages.tables import paper, results, words

__all__ = ["paper", "results", "words"]
