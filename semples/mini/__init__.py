"""The miniature: a drawn data set, and the weights of a guide trained on it (workflow/scripts/train_mini_guide.py)."""

from pathlib import Path

GUIDE_WEIGHTS = Path(__file__).parent / "guide_weights"
