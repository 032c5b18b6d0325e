"""slm: segment-label matching. The generator learns masks whose content the guide matches with the class name."""

from pathlib import Path

from semples.config.settings import Settings
from semples.training.job import LearningJob
from semples.training.refinement import refine


def run(settings: Settings, seed: int, manifest: Path, guide: Path, start: Path, out: Path) -> None:
    """Train the generator `start` under the guide; write `out`/model.safetensors and metrics.jsonl."""
    refine(LearningJob(settings, "slm", seed, manifest, out), guide, start)
