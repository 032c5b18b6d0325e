"""The same work on many items, in processes."""

from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context

from tqdm import tqdm


def spread(work: Callable, items: Iterable, processes: int, what: str, total: int | None = None) -> Iterator:
    """The results of `work(item)` in the order of `items`, which are taken one by one as processes become free.

    `what` names the progress bar. One process is this one.
    """
    bar = {"desc": what, "total": total, "unit": "file", "mininterval": 2}
    if processes == 1:
        yield from tqdm(map(work, items), **bar)
        return
    with get_context("forkserver").Pool(processes) as pool:
        yield from tqdm(pool.imap(work, items, chunksize=4), **bar)
