"""The checkpoint of a training run: a resumed run goes on in the middle of an epoch and ends as an undisturbed one.

It holds no state of a random generator: seeds depend on a step's or image's position in the run (runtime.seeds).
"""

import logging
import zipfile
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semples.files import MARKS, atomic_path, remove_leftovers
from semples.weights.tensor_file import not_finite

log = logging.getLogger(__name__)
LAST, PREVIOUS, BEST, DAMAGED = "last.ckpt", "previous.ckpt", "best.ckpt", "damaged.ckpt"


@dataclass
class Position:
    """Progress of a run, and the sums of its unfinished epoch."""

    epoch: int = 0  # number of finished ones
    step: int = 0  # batches done of the epoch after these
    sums: dict[str, Tensor] = field(default_factory=dict)  # of every loss over these batches, each (), by name
    skipped: Tensor | int = 0  # number of these batches in skipped steps; the device counts them
    streak: Tensor | int = 0  # skipped steps in a row up to here, over all epochs; it stays once it is too long

    def add(self, losses: dict[str, Tensor], skipped: Tensor, limit: int) -> None:
        """Count a step with its losses, each (); `skipped` is a bool ()."""
        self.step += 1
        self.skipped = self.skipped + skipped.int()
        self.streak = torch.where(skipped | (self.streak >= limit), self.streak + 1, 0)
        self.sums = {name: self.sums.get(name, 0) + torch.where(skipped, 0, value) for name, value in losses.items()}

    def next_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch, self.step, self.sums, self.skipped = self.epoch + 1, 0, {}, 0


class Checkpoint:
    """Last and best state of a run in `folder`, and the state before the last, for when that cannot be read.

    Args:
        fingerprint: Digest of settings and inputs.
        parts: Objects with `state_dict` and `load_state_dict`, by name: learner, optimizer, schedule.
        writes: Whether this process writes; of several, one does.
    """

    def __init__(self, folder: Path, fingerprint: str, parts: dict[str, Any], writes: bool) -> None:
        self.fingerprint, self.parts, self.writes = fingerprint, parts, writes
        self.last, self.previous, self.best = folder / LAST, folder / PREVIOUS, folder / BEST
        self.metrics = folder / "metrics.jsonl"
        if writes and not (folder / MARKS).exists():  # an error if the folder holds other files
            with atomic_path(folder) as partial:
                partial.mkdir()

    def resume(self) -> Position:
        """Load the newest readable state if it has the same fingerprint, else start anew; return the position."""
        position, state = Position(), {}
        if not self.best.exists() or self._read(self.best):
            state = self._read(self.last) or self._read(self.previous)
        if state and (state["fingerprint"] != self.fingerprint or not state.keys() >= self.parts.keys()):
            log.info("%s belongs to other settings; starting anew", self.last)
        elif state:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            position = Position(**state["position"])
        if self.writes:
            for path in (self.last.parent, self.last, self.best):
                remove_leftovers(path)
            lines = self.metrics.read_text(encoding="utf-8").splitlines() if self.metrics.exists() else []
            self.metrics.write_text("".join(f"{line}\n" for line in lines[: position.epoch]), encoding="utf-8")
            if position.epoch == 0:
                self.best.unlink(missing_ok=True)
        return position

    def _read(self, path: Path) -> dict[str, Any]:
        """Return the state in a file; an empty one if there is none, or a damaged one, which gets another name."""
        if not path.exists():
            return {}
        try:
            with zipfile.ZipFile(path) as file:
                damaged = file.testzip()  # torch does not look at the check sums
            if not damaged:
                return torch.load(path, map_location="cpu")
        except Exception as error:  # torch and pickle raise anything for damaged bytes
            damaged = str(error) or type(error).__name__
        log.warning("%s is damaged (%s): going on without it", path, damaged)
        if self.writes:
            path.replace(path.with_name(DAMAGED))
        return {}

    def save(self, position: Position) -> bool:
        """Write the last state, completely or not at all; return False for weights that are not finite, unwritten."""
        if not self.writes or not_finite(self.parts["learner"].state_dict()):
            return False
        position.streak = int(position.streak)
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"position": asdict(position), "fingerprint": self.fingerprint}
        with atomic_path(self.last) as partial:
            torch.save(state, partial)
            if self.last.exists():
                self.last.replace(self.previous)
        return True

    def add_line(self, line: str) -> None:
        """Append the JSON line of a finished epoch to the running metrics."""
        if self.writes:
            with open(self.metrics, "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def keep_best(self, learner: nn.Module, epoch: int, score: float) -> None:
        """Save the learner if no earlier epoch scored as high; `epoch` counts from 1."""
        score = score if isfinite(score) else -inf
        if not self.best.exists() or score > torch.load(self.best, map_location="cpu")["score"]:
            with atomic_path(self.best) as partial:
                torch.save({"learner": learner.state_dict(), "epoch": epoch, "score": score}, partial)

    def load_best(self, learner: nn.Module) -> None:
        """Restore the best epoch."""
        best = torch.load(self.best, map_location="cpu")
        learner.load_state_dict(best["learner"])
        log.info("kept epoch %d, selection score %.4f", best["epoch"], best["score"])
