"""Tools that a person calls: check data, plan a run, inspect and report results, use a trained network."""
