"""Plan a run: the stages behind every output, their cost, the content of tables and figures, and all paths."""
