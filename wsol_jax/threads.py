"""A map over threads, for work that leaves Python's lock: decoding, resizing, compiled loops."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from wsol_jax.paths import RemotePath

Item = TypeVar("Item")
Result = TypeVar("Result")

IN_A_STORE = 64  # requests to a store that are under way: nearly all of their time is waiting
AT_ONCE = 4096  # items submitted at a time, so that the results of a long sequence are never held all at once


def cores() -> int:
    """Return the number of cores that this process may use, of a shared machine perhaps a few."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def for_files(folder: Path) -> int:
    """Return the number of threads for the files of a folder: one for each core, in a store `IN_A_STORE` at least."""
    return max(cores(), IN_A_STORE) if isinstance(folder, RemotePath) else cores()


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], at_once: int = AT_ONCE, threads: int | None = None
) -> Iterator[Result]:
    """Yield the results of a function for every item, computed by one thread for each core, see `cores`.

    Args:
        function: item -> result; runs in several threads at once.
        items: of any number.
        at_once: the number of items whose results may be held in memory.
        threads: of them, if not one for each core, see `for_files`.

    Yields:
        The results, in the order of the items.
    """
    with ThreadPoolExecutor(threads or cores()) as pool:
        for start in range(0, len(items), at_once):
            yield from pool.map(function, items[start : start + at_once])


def in_parts(
    function: Callable[[Item], Result], items: Sequence[Item], size: int = 64, threads: int | None = None
) -> Iterator[Result]:
    """Yield the results of a function that is quicker than to hand an item from thread to thread, as `in_threads`.

    Args:
        function: item -> result; runs in several threads at once.
        items: of any number.
        size: the number of items that one thread takes at a time.
        threads: as of `in_threads`.
    """
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    for results in in_threads(lambda part: [function(item) for item in part], parts, threads=threads):
        yield from results
