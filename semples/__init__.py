"""semples: weakly supervised semantic segmentation with learned background prompts (SemPLeS)."""

__version__ = "0.1.0"
