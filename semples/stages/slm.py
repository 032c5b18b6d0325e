"""slm: segment-label matching. The guide teaches the generator to find what the class name means."""

from pathlib import Path

from semples.config.settings import Settings
from semples.training.job import LearningJob
from semples.training.refinement import refine


def run(settings: Settings, seed: int, manifest: Path, guide: Path, start: Path, out: Path) -> None:
    """Train the generator `start` under the guide; write `out`/model.safetensors and metrics.jsonl."""
    refine(LearningJob(settings, "slm", seed, manifest, out), guide, start)
