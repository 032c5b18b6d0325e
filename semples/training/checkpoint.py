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

    epoch: int = 0  # number of finished ones
    step: int = 0  # batches done of the epoch after these
    sums: dict[str, Tensor] = field(default_factory=dict)  # of every loss over these batches, each (), by name
    skipped: Tensor | int = 0  # number of these batches whose loss was not finite; the device counts them

    def add(self, losses: dict[str, Tensor], skipped: Tensor) -> None:
        """Count one more batch with its losses, each (); `skipped` is a bool ()."""
        self.step += 1
        self.skipped = self.skipped + skipped.int()
        self.sums |= {name: self.sums.get(name, 0) + value for name, value in losses.items()}

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
        self.fingerprint, self.parts, self.writes = fingerprint, parts, writes
        self.last, self.best, self.metrics = folder / LAST, folder / BEST, folder / "metrics.jsonl"
        if writes and not (folder / MARKS).exists():  # an error if the folder holds other files
            with atomic_path(folder) as partial:
                partial.mkdir()

    def resume(self) -> Position:
        """Load the last state if it has the same fingerprint, else start anew; return the position in the run."""
        position = Position()
        if self.last.exists():
            saved = torch.load(self.last, map_location="cpu")
            if saved["fingerprint"] == self.fingerprint:
                for name, part in self.parts.items():
                    part.load_state_dict(saved[name])
                position = Position(**saved["position"])
            else:
                log.info("%s belongs to other settings; starting anew", self.last)
        if self.writes:
            lines = self.metrics.read_text(encoding="utf-8").splitlines() if self.metrics.exists() else []
            self.metrics.write_text("".join(f"{line}\n" for line in lines[: position.epoch]), encoding="utf-8")
            if position.epoch == 0:
                self.best.unlink(missing_ok=True)
        return position

    def save(self, position: Position) -> None:
        """Write the last state, completely or not at all."""
        if self.writes:
            states = {name: part.state_dict() for name, part in self.parts.items()}
            with atomic_path(self.last) as partial:
                torch.save({**states, "position": asdict(position), "fingerprint": self.fingerprint}, partial)

    def add_line(self, line: str) -> None:
        """Append the JSON line of a finished epoch to the running metrics."""
        if self.writes:
            with open(self.metrics, "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def keep_best(self, learner: nn.Module, epoch: int, score: float) -> None:
        """Save the learner if no earlier epoch scored as high; `epoch` counts from 1."""
        if not self.best.exists() or score > torch.load(self.best, map_location="cpu")["score"]:
            with atomic_path(self.best) as partial:
                torch.save({"learner": learner.state_dict(), "epoch": epoch, "score": score}, partial)

    def load_best(self, learner: nn.Module) -> None:
        """Restore the best epoch."""
        best = torch.load(self.best, map_location="cpu")
        learner.load_state_dict(best["learner"])
        log.info("kept epoch %d, selection score %.4f", best["epoch"], best["score"])
