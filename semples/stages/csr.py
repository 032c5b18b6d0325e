"""csr: class-associated semantic refinement. As slm, and away from what the prompts have learned."""

from pathlib import Path

from semples.config.settings import Settings
from semples.training.job import LearningJob
from semples.training.refinement import refine


def run(settings: Settings, seed: int, manifest: Path, guide: Path, start: Path, prompts: Path, out: Path) -> None:
    """Train the generator `start` under guide and prompts; write `out`/model.safetensors and metrics.jsonl."""
    refine(LearningJob(settings, "csr", seed, manifest, out), guide, start, prompts)
