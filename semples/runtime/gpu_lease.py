"""Reserve GPUs by lock files, so that jobs that Snakemake starts side by side on one machine use different ones.

Snakemake counts GPUs but assigns none. The kernel releases a lock when its process ends, however it ends. Where exactly
as many GPUs are visible as are needed, a scheduler has assigned them, and none is reserved.
"""

import fcntl
import itertools
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
    """Wait for `count` free GPUs and make them the only visible ones; call it before CUDA starts.

    It does nothing for the device `cpu` or `mps`, and in a process that another one started to share its work.
    Raises:
        SemplesError: Fewer than `count` GPUs are visible.
    """
    gpus = [] if device in ("cpu", "mps") or "LOCAL_RANK" in os.environ else visible_gpus()
    if not gpus or len(gpus) == count:
        return
    if len(gpus) < count:
        raise SemplesError("run.devices", f"{count}, and {len(gpus)} GPUs", "a GPU per device", "lower `run.devices`")
    try:
        names = _lock_all(gpus, count)
    except OSError as error:  # no folder, or a file system without locks
        log.warning("no lock files (%s): jobs side by side may use the same GPU", error)
        names = gpus[:count]
    os.environ[VISIBLE] = ",".join(names)
    log.info("GPUs leased: %s", os.environ[VISIBLE])


def visible_gpus() -> list[str]:
    """Return the UUIDs of the NVIDIA GPUs that this process may see; none without the driver's `nvidia-smi`."""
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    gpus = output.split()
    names = os.environ.get(VISIBLE, ",".join(gpus)).replace(",", " ").split()
    return [gpus[int(n)] if n.isdigit() and int(n) < len(gpus) else n for n in names]


def _lock_all(gpus: list[str], count: int) -> list[str]:
    """Lock `count` of the GPUs; release all when fewer are free, so that two jobs never wait for each other's."""
    folder = Path(tempfile.gettempdir()) / f"semples-cards-{os.getuid()}"  # the user may have no name
    folder.mkdir(mode=0o700, exist_ok=True)
    for attempt in itertools.count():
        free: dict[str, TextIO] = {}
        for gpu in gpus:
            if len(free) < count and (lock := _lock(folder / gpu)):
                free[gpu] = lock
        if len(free) == count:
            break
        for lock in free.values():
            lock.close()
        if attempt == 0:
            log.info("waiting for %d of %d GPUs", count, len(gpus))
        time.sleep(POLL_S)
    _held.extend(free.values())
    return list(free)


def _lock(path: Path) -> TextIO | None:
    """Return the open, locked file; None where another process holds the lock."""
    file = open(path, "w", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
