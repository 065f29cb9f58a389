"""A map over threads, for work that leaves Python's lock: decoding, resizing, compiled loops."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 4096  # items submitted at a time, so that the results of a long sequence are never held all at once


def cores() -> int:
    """Return the number of cores that this process may use, of a shared machine perhaps a few."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], at_once: int = AT_ONCE) -> Iterator[Result]:
    """Yield the results of a function for every item, computed by one thread for each core, see `cores`.

    Args:
        function: item -> result; runs in several threads at once.
        items: of any number.
        at_once: the number of items whose results may be held in memory.

    Yields:
        The results, in the order of the items.
    """
    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(items), at_once):
            yield from pool.map(function, items[start : start + at_once])


def in_parts(function: Callable[[Item], Result], items: Sequence[Item], size: int = 64) -> Iterator[Result]:
    """Yield the results of a function that is quicker than to hand an item from thread to thread, as `in_threads`.

    Args:
        function: item -> result; runs in several threads at once.
        items: of any number.
        size: the number of items that one thread takes at a time.
    """
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    for results in in_threads(lambda part: [function(item) for item in part], parts):
        yield from results
