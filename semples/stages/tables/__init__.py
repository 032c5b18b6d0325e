"""tables: evaluations, prompt words and costs as CSV, Markdown, LaTeX and HTML."""
