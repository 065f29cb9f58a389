"""The progress of a long loop: a bar on a terminal, log lines elsewhere, with the rate and the time left."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from absl import logging
from rich import progress as bars
from rich.console import Console

from wsol_jax import processes

Item = TypeVar("Item")

FIRST_LINE, SECONDS_BETWEEN_LINES = 5.0, 30.0
WINDOW = 30.0  # seconds of a moving average, at least

Advance = Callable[..., None]
"""(units done so far, detail='') -> None; the detail is shown behind the name, e.g. 'step 3 of 9'."""


class _Rate:
    """Units per second of the last half minute, without the first item, which compiles."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, int]] = deque()

    def update(self, done: int) -> float:
        """Return the rate once `done` units are done in all; 0 after the first item."""
        now = time.monotonic()
        self.seen.append((now, done))
        while len(self.seen) > 2 and now - self.seen[1][0] >= WINDOW:
            self.seen.popleft()
        since, before = self.seen[0]
        return (done - before) / max(now - since, 1e-9)


def track(items: Iterable[Item], total: int, name: str, unit: str = "photos", weight: int = 1) -> Iterator[Item]:
    """Yield items unchanged; the first process shows how many are done, the rate and the time left.

    Args:
        items: yielded in their order.
        total: the number of units in all (units, not items).
        name: of the loop, e.g. 'localizer'.
        unit: the name of a unit, in the plural.
        weight: units in one item, e.g. the batch size; the last item may hold fewer.

    Yields:
        The items. One counts as done when the next is requested.
    """
    with meter(total, name, unit) as advance:
        for number, item in enumerate(items, start=1):
            yield item
            advance(min(number * weight, total))


def meter(total: int, name: str, unit: str = "photos") -> AbstractContextManager[Advance]:
    """Return a context whose value is a function to be called with the number of units that are done so far.

    `track` suits a loop whose items are done in their order; on devices a step is done later than it is called.

    Args:
        total: the number of units in all.
        name: of the loop.
        unit: the name of a unit, in the plural.
    """
    if not processes.is_first():
        return nullcontext(lambda *_: None)
    return (_bar if sys.stderr.isatty() else _lines)(total, name, unit)


@contextmanager
def _bar(total: int, name: str, unit: str) -> Iterator[Advance]:
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TextColumn("{task.fields[left]}"),
    )
    measured = _Rate()
    with bars.Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total, rate="", left="")

        def advance(done: int, detail: str = "") -> None:
            rate = measured.update(done)
            left = f"{clock((total - done) / rate)} left" if rate else ""
            title = f"{name}, {detail}" if detail else name
            progress.update(task, completed=done, description=title, rate=f"{rate:.1f} {unit}/s", left=left)

        yield advance


@contextmanager
def _lines(total: int, name: str, unit: str) -> Iterator[Advance]:
    start = last = time.monotonic()
    wait, finished, measured = FIRST_LINE, 0, _Rate()

    def advance(done: int, detail: str = "") -> None:
        nonlocal last, wait, finished
        finished, rate, now = done, measured.update(done), time.monotonic()
        if now - last >= wait and done < total and rate:
            last, wait = now, min(2 * wait, SECONDS_BETWEEN_LINES)
            title, left = f"{name}, {detail}" if detail else name, clock((total - done) / rate)
            logging.info("%s: %d of %d %s, %.1f %s/s, %s left", title, done, total, unit, rate, unit, left)

    yield advance
    took = max(time.monotonic() - start, 1e-9)
    logging.info("%s: %d %s in %s, %.1f %s/s", name, finished, unit, clock(took), finished / took, unit)


def clock(seconds: float) -> str:
    """Return hours, minutes and seconds as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
