"""joint: prompts and generator learn together, for comparison with cpl followed by csr."""

from pathlib import Path

from semples.config.settings import Settings
from semples.errors import SemplesError
from semples.training.job import LearningJob
from semples.training.refinement import refine


def run(settings: Settings, seed: int, manifest: Path, guide: Path, start: Path, out: Path) -> None:
    """Train the generator `start` together with new prompts; write the outputs of csr and of cpl into `out`.

    The settings of csr apply to the loop and the generator, those of cpl to the prompts and their learning rate.
    """
    if settings.cpl.source == "manual":
        raise SemplesError("cpl.source", "'manual' with joint", "'learned'", "use csr for prompts written by hand")
    refine(LearningJob(settings, "joint", seed, manifest, out), guide, start)
