"""One module a stage: from files to files."""
