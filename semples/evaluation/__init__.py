"""Metrics: pixel counts, the ratios made of them, thresholds and confidence intervals."""
