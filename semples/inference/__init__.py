"""Trained networks at work: maps and masks of whole images."""
