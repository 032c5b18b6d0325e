"""figures: panels of pictures, curves, words of prompts and confusions, each as PNG and as PDF with vectors."""

from semples.stages.figures import confusions, curves, panels, prompts

__all__ = ["confusions", "curves", "panels", "prompts"]
