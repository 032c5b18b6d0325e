"""The miniature: a drawn world, and a guide trained on it."""

from pathlib import Path

GUIDE_WEIGHTS = Path(__file__).parent / "guide_weights"
