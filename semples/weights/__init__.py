"""Trained models on disk, and weights from elsewhere."""
