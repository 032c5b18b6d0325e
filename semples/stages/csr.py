"""csr: class-associated semantic refinement: slm with a term that leads away from the learned prompts."""

from pathlib import Path

from semples.config.settings import Settings
from semples.training.job import LearningJob
from semples.training.refinement import refine


def run(settings: Settings, seed: int, manifest: Path, guide: Path, start: Path, prompts: Path, out: Path) -> None:
    """Train the generator `start` under guide and prompts; write `out`/model.safetensors and metrics.jsonl."""
    refine(LearningJob(settings, "csr", seed, manifest, out), guide, start, prompts)
