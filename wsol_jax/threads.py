"""A map over threads, for work that leaves Python's lock: decoding, resizing, compiled loops."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 4096  # items handed to the threads at a time, so that a long sequence is never held whole


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Apply a function to every item, with one thread for each core.

    Args:
        function: may run in several threads at once.
        items: of any number.

    Yields:
        The results, in the order of the items.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(items), AT_ONCE):
            yield from pool.map(function, items[start : start + AT_ONCE])
