"""The checkpoint of a training run: what is needed to go on in the middle of an epoch as if nothing had happened.

Random numbers need no saving: those of a step and of an image depend on their place in the run alone (runtime.seeds).
"""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from semples.files import MARKS, atomic_path

log = logging.getLogger(__name__)
LAST, BEST = "last.ckpt", "best.ckpt"


@dataclass
class Position:
    """How far a run has come, and what its unfinished epoch has summed up."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps done of the epoch after these."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Sum () of every named loss over these steps."""
    skipped: Tensor | int = 0
    """Number of these steps whose loss was not finite; a tensor () where its device counts them."""

    def add(self, losses: dict[str, Tensor], skipped: Tensor) -> None:
        """One more step, with its losses; `skipped` () says whether it was."""
        self.step += 1
        self.skipped = self.skipped + skipped.int()
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value

    def next_epoch(self) -> None:
        """The epoch is finished."""
        self.epoch, self.step, self.sums, self.skipped = self.epoch + 1, 0, {}, 0


class Checkpoint:
    """Last and best state of a run in `folder`; with `writes` false, as in all processes but one, only read.

    `parts` are what has a state to keep, by name: learner, optimiser, schedule.
    """

    def __init__(self, folder: Path, fingerprint: str, parts: dict[str, object], writes: bool) -> None:
        self.folder, self.fingerprint, self.parts, self.writes = folder, fingerprint, parts, writes
        self.metrics = folder / "metrics.jsonl"
        if writes and not (folder / MARKS).exists():  # an error if the folder holds other files
            with atomic_path(folder) as partial:
                partial.mkdir()

    def resume(self, epochs: int, steps: int) -> Position:
        """Load the last state if it is of this very run, of `epochs` epochs of `steps` steps; else start anew."""
        path = self.folder / LAST
        if path.exists():
            saved = torch.load(path, map_location="cpu")
            if saved["fingerprint"] == self.fingerprint:
                for name, part in self.parts.items():
                    part.load_state_dict(saved[name])
                position = Position(**saved["position"])
                self._keep_lines(position.epoch)
                words = "resuming after epoch %d of %d, at step %d of %d"
                log.info(words, position.epoch, epochs, position.epoch * steps + position.step, epochs * steps)
                return position
            log.info("%s belongs to other settings; starting anew", path)
        self._keep_lines(0)
        if self.writes:
            (self.folder / BEST).unlink(missing_ok=True)
        return Position()

    def save(self, position: Position) -> None:
        """Write the last state, whole or not at all."""
        if self.writes:
            states = {name: part.state_dict() for name, part in self.parts.items()}
            with atomic_path(self.folder / LAST) as partial:
                torch.save({**states, "position": asdict(position), "fingerprint": self.fingerprint}, partial)

    def add_line(self, line: str) -> None:
        """Append the line of a finished epoch to the running metrics."""
        if self.writes:
            with open(self.metrics, "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def keep_best(self, learner: nn.Module, epoch: int, score: float) -> None:
        """Keep the learner if no earlier epoch scored as high."""
        path = self.folder / BEST
        if not path.exists() or score > torch.load(path, map_location="cpu")["score"]:
            with atomic_path(path) as partial:
                torch.save({"learner": learner.state_dict(), "epoch": epoch, "score": score}, partial)

    def load_best(self, learner: nn.Module) -> None:
        """Bring the learner back to the epoch that scored highest."""
        best = torch.load(self.folder / BEST, map_location="cpu")
        learner.load_state_dict(best["learner"])
        log.info("kept epoch %d, selection score %.4f", best["epoch"], best["score"])

    def _keep_lines(self, count: int) -> None:
        if self.writes:
            lines = self.metrics.read_text(encoding="utf-8").splitlines() if self.metrics.exists() else []
            self.metrics.write_text("".join(f"{line}\n" for line in lines[:count]), encoding="utf-8")


def delete_checkpoint(folder: Path) -> None:
    """Remove the checkpoints of a run that has ended well."""
    for name in (LAST, BEST):
        (folder / name).unlink(missing_ok=True)
