"""Commands that a person calls: look at data, plans, results, and use a trained network."""
