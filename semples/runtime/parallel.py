"""Apply one function to many items in processes or threads, and divide items among the shards of a job."""

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from shutil import disk_usage

from tqdm import tqdm

from semples.errors import SemplesError

log = logging.getLogger(__name__)
MAX_PENDING = 2  # results per thread that may wait for the caller
SHARED_MEMORY = "/dev/shm"  # of Linux; locks and tensors of several processes lie there


def workers_that_fit(workers: int, size: int) -> int:
    """Return at most `workers`: as many as have room for `size` bytes each, and locks, in the shared memory."""
    if sys.platform != "linux" or workers == 0:
        return workers
    size += 2**20
    free = disk_usage(SHARED_MEMORY).free if Path(SHARED_MEMORY).is_dir() else 0
    if workers * size > free:
        values = (SHARED_MEMORY, free / 1e6, free // size, workers, size / 1e6)
        log.warning("%s has %.1f MB free: room for %d of %d processes of %.1f MB (docker --shm-size)", *values)
    return min(workers, free // size)


def map_processes(work: Callable, items: Iterable, processes: int, title: str, total: int | None = None) -> Iterator:
    """Yield `work(item)` in the order of `items`, which are read one by one as processes become free.

    Args:
        work, items: A picklable function, and what it takes.
        processes: Number of processes; 1 runs in this one.
        title, total: Title and length of the progress bar; none without a title.
    """
    bar = partial(tqdm, desc=title, total=total, unit="file", mininterval=2, disable=not title)
    if processes > 1:
        processes = workers_that_fit(processes, 0)
    if processes <= 1:
        yield from bar(map(work, items))
        return
    with get_context("forkserver").Pool(processes) as pool:
        yield from bar(pool.imap(work, items, chunksize=2))


def map_threads(work: Callable, items: Iterable, threads: int) -> Iterator:
    """Yield `work(item)` in the order of `items`, computed in threads that run a few items ahead of the caller."""
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > MAX_PENDING * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def shard_slice(shard: str | None, count: int) -> slice:
    """Return the slice of `count` items that belongs to a shard such as "2-of-4"; None is all of them."""
    number, shards = map(int, (shard or "1-of-1").split("-of-"))
    if count < shards:
        problem, remedy = f"{shards} shards of {count} images", f"set `run.shards` to {count} or less"
        raise SemplesError("run.shards", problem, "at least one image per shard", remedy)
    return slice((number - 1) * count // shards, number * count // shards)
