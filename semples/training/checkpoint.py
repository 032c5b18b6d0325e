"""The checkpoint of a training run: a resumed run goes on in the middle of an epoch and ends as an undisturbed one.

It holds no state of a random generator: seeds depend on a step's or image's position in the run (runtime.seeds).
"""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semples.files import MARKS, atomic_path

log = logging.getLogger(__name__)
LAST, BEST = "last.ckpt", "best.ckpt"


@dataclass
class Position:
    """Progress of a run, and the sums of its unfinished epoch."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Batches done of the epoch after these."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Sum () of every loss over these batches, by name."""
    skipped: Tensor | int = 0
    """Number of these batches whose loss was not finite; a tensor () where the device counts them."""

    def add(self, losses: dict[str, Tensor], skipped: Tensor) -> None:
        """Count one more batch with its losses, each (); `skipped` is a bool ()."""
        self.step += 1
        self.skipped = self.skipped + skipped.int()
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value

    def next_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch, self.step, self.sums, self.skipped = self.epoch + 1, 0, {}, 0


class Checkpoint:
    """Last and best state of a run in `folder`.

    Args:
        fingerprint: Digest of settings and inputs.
        parts: Objects with `state_dict` and `load_state_dict`, by name: learner, optimizer, schedule.
        writes: Whether this process writes; of several, one does.
    """

    def __init__(self, folder: Path, fingerprint: str, parts: dict[str, Any], writes: bool) -> None:
        self.folder, self.fingerprint, self.parts, self.writes = folder, fingerprint, parts, writes
        self.metrics = folder / "metrics.jsonl"
        if writes and not (folder / MARKS).exists():  # an error if the folder holds other files
            with atomic_path(folder) as partial:
                partial.mkdir()

    def resume(self, epochs: int, steps: int) -> Position:
        """Load the last state if it has the same fingerprint, else start anew; return the position in the run.

        Args:
            epochs, steps: Length of the run, and of an epoch in batches, for the log.
        """
        path = self.folder / LAST
        if path.exists():
            saved = torch.load(path, map_location="cpu")
            if saved["fingerprint"] == self.fingerprint:
                for name, part in self.parts.items():
                    part.load_state_dict(saved[name])
                position = Position(**saved["position"])
                self._truncate_metrics(position.epoch)
                done, end = position.epoch * steps + position.step, epochs * steps
                log.info("resuming after epoch %d of %d, at step %d of %d", position.epoch, epochs, done, end)
                return position
            log.info("%s belongs to other settings; starting anew", path)
        self._truncate_metrics(0)
        if self.writes:
            (self.folder / BEST).unlink(missing_ok=True)
        return Position()

    def save(self, position: Position) -> None:
        """Write the last state, completely or not at all."""
        if self.writes:
            states = {name: part.state_dict() for name, part in self.parts.items()}
            with atomic_path(self.folder / LAST) as partial:
                torch.save({**states, "position": asdict(position), "fingerprint": self.fingerprint}, partial)

    def add_line(self, line: str) -> None:
        """Append the JSON line of a finished epoch to the running metrics."""
        if self.writes:
            with open(self.metrics, "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def keep_best(self, learner: nn.Module, epoch: int, score: float) -> None:
        """Save the learner if no earlier epoch scored as high; `epoch` counts from 1."""
        path = self.folder / BEST
        if not path.exists() or score > torch.load(path, map_location="cpu")["score"]:
            with atomic_path(path) as partial:
                torch.save({"learner": learner.state_dict(), "epoch": epoch, "score": score}, partial)

    def load_best(self, learner: nn.Module) -> None:
        """Restore the best epoch."""
        best = torch.load(self.folder / BEST, map_location="cpu")
        learner.load_state_dict(best["learner"])
        log.info("kept epoch %d, selection score %.4f", best["epoch"], best["score"])

    def _truncate_metrics(self, count: int) -> None:
        if self.writes:
            lines = self.metrics.read_text(encoding="utf-8").splitlines() if self.metrics.exists() else []
            self.metrics.write_text("".join(f"{line}\n" for line in lines[:count]), encoding="utf-8")


def delete_checkpoint(folder: Path) -> None:
    """Delete the last and the best state of a run."""
    for name in (LAST, BEST):
        (folder / name).unlink(missing_ok=True)
