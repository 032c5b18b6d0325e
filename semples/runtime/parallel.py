"""The same work on many items, in processes or threads, and the share of a job."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

from tqdm import tqdm

from semples.errors import SemplesError

MAX_PENDING = 2  # results a thread that may wait to be taken


def map_processes(work: Callable, items: Iterable, processes: int, what: str, total: int | None = None) -> Iterator:
    """The results of `work(item)` in the order of `items`, which are taken one by one as processes become free.

    `what` names the progress bar. One process is this one.
    """
    bar = {"desc": what, "total": total, "unit": "file", "mininterval": 2}
    if processes == 1:
        yield from tqdm(map(work, items), **bar)
        return
    with get_context("forkserver").Pool(processes) as pool:
        yield from tqdm(pool.imap(work, items, chunksize=2), **bar)


def map_threads(work: Callable, items: Iterable, threads: int) -> Iterator:
    """The results of `work(item)` in the order of `items`, made in threads, a few ahead of the one that is taken."""
    with ThreadPoolExecutor(threads) as pool:
        begun = deque()
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > MAX_PENDING * threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def shard_slice(shard: str | None, count: int) -> slice:
    """The places, of `count` in a row, that belong to a shard such as "2-of-4"; all of them for None."""
    number, shards = map(int, (shard or "1-of-1").split("-of-"))
    if count < shards:
        found, expected = f"{shards} shards of {count} images", "an image or more for each"
        raise SemplesError("run.shards", found, expected, f"set `run.shards` to {count} or less")
    return slice((number - 1) * count // shards, number * count // shards)
