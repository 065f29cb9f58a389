"""The progress of a long loop: a bar on a terminal, a log line every half minute elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from absl import logging
from rich import progress as bars
from rich.console import Console

from wsol_jax import processes

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 30.0


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
    if not processes.is_first():
        yield from items
        return
    show = _bar if sys.stderr.isatty() else _lines
    yield from show(items, total, name, unit, weight)


def _bar(items: Iterable[Item], total: int, name: str, unit: str, weight: int) -> Iterator[Item]:
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(),
    )
    start = time.monotonic()
    with bars.Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total, rate="")
        for done, item in _counted(items, total, weight):
            yield item
            rate = done / max(time.monotonic() - start, 1e-9)
            progress.update(task, completed=done, rate=f"{rate:.1f} {unit}/s")


def _lines(items: Iterable[Item], total: int, name: str, unit: str, weight: int) -> Iterator[Item]:
    start = last = time.monotonic()
    done = 0
    for done, item in _counted(items, total, weight):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            last = now
            rate = done / (now - start)
            left = _clock((total - done) / rate)
            logging.info("%s: %d of %d %s, %.1f %s/s, %s left", name, done, total, unit, rate, unit, left)
    took = max(time.monotonic() - start, 1e-9)
    logging.info("%s: %d %s in %s, %.1f %s/s", name, done, unit, _clock(took), done / took, unit)


def _counted(items: Iterable[Item], total: int, weight: int) -> Iterator[tuple[int, Item]]:
    """Each item with the units that are done once it is; never more than `total`, as the last may hold fewer."""
    for number, item in enumerate(items, start=1):
        yield min(number * weight, total), item


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
