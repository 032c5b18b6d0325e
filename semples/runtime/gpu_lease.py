"""A lease of GPUs, so that jobs of one machine that know nothing of each other do not meet on the same card.

Snakemake counts GPUs and hands out none. A lease is a lock on a file named after the card, which the kernel lifts
when the process ends, however it ends. Where as many cards are visible as are wanted, nothing is done: a scheduler gave
them.
"""

import fcntl
import getpass
import logging
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TextIO

from semples.errors import SemplesError

log = logging.getLogger(__name__)
POLL_S = 1.0
VISIBLE = "CUDA_VISIBLE_DEVICES"
_held: list[TextIO] = []  # open while the process lives


def lease_gpus(device: str, count: int) -> None:
    """Wait for `count` free cards and make them the only visible ones. Call it before CUDA starts.

    Nothing is leased for the device `cpu` or `mps`, nor in a process that another one started to share its work.
    """
    cards = [] if device in ("cpu", "mps") or "LOCAL_RANK" in os.environ else visible_gpus()
    if not cards or len(cards) == count:
        return
    if len(cards) < count:
        raise SemplesError("run.devices", f"{count}, and {len(cards)} GPUs", "GPUs for all", "lower `run.devices`")
    names = _taken(cards, count)
    log.info("GPUs leased: %s", ", ".join(names))
    os.environ[VISIBLE] = ",".join(names)


def visible_gpus() -> list[str]:
    """Names (UUIDs) of the NVIDIA GPUs that this process may see; none where the driver's `nvidia-smi` is not there."""
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    cards = said.split()
    chosen = os.environ.get(VISIBLE)
    if chosen is None:
        return cards
    numbered = [name.strip() for name in chosen.split(",") if name.strip()]
    return [cards[int(n)] if n.isdigit() and int(n) < len(cards) else n for n in numbered]


def _taken(cards: list[str], count: int) -> list[str]:
    """Lock `count` of the cards, in one go, so that two jobs never wait for each other's."""
    folder = Path(tempfile.gettempdir()) / f"semples-cards-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    waiting = False
    while True:
        free = {}
        for card in cards:
            if len(free) < count and (lock := _lock(folder / card)):
                free[card] = lock
        if len(free) == count:
            _held.extend(free.values())
            return list(free)
        for lock in free.values():
            lock.close()
        if not waiting:
            log.info("waiting for %d of %d GPUs", count, len(cards))
            waiting = True
        time.sleep(POLL_S)


def _lock(path: Path) -> TextIO | None:
    """The open, locked file, or None where another process has it."""
    file = open(path, "w", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
