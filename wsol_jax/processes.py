"""The processes of a run: the first one decides, writes and removes; the others wait for it.

`jax.distributed` starts one process for each host, or for each GPU; a run of one process needs no start and waits for
nothing. Waits and decisions go through JAX's coordination service, not through the devices: they may last for hours,
and signals are handled meanwhile. Every process makes the same calls in the same order.
"""

import itertools
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar

import jax
import numpy as np
from jax._src.distributed import global_state  # JAX has no public waits or values outside of the devices
from jax.experimental import multihost_utils

from wsol_jax.errors import InputError

Value = TypeVar("Value")

STOPPED = 75
"""The exit code after SIGTERM (EX_TEMPFAIL of sysexits.h): the same command continues from the last checkpoint."""

_SLICE = 500  # milliseconds between two chances for a signal to be handled
_leftovers: list[Callable[[], object]] = []  # see `removed_on_leaving`
_calls = itertools.count()  # names the calls, which are the same ones in the same order in every process


def count() -> int:
    """Return the number of processes of this run."""
    return global_state.num_processes


def number() -> int:
    """Return the number of this process, from 0."""
    return global_state.process_id


def is_first() -> bool:
    """Return whether this process is number 0: the only one that decides, writes and removes."""
    return number() == 0


def barrier() -> None:
    """Return once all processes are here, however long that takes; see `wait_for_first`."""
    if global_state.client is None:
        return
    name = f"wsol_jax/{next(_calls)}"
    global_state.client.key_value_set(f"{name}/{number()}", "here")
    for other in range(count()):
        _wait_for(f"{name}/{other}")


def from_first(decide: Callable[[], Value]) -> Value:
    """Return the result of `decide` in the first process, in every process; the others do not call it.

    Args:
        decide: () -> a value that JSON can hold.
    """
    if global_state.client is None:
        return decide()
    name = f"wsol_jax/{next(_calls)}"
    if is_first():
        value = decide()
        global_state.client.key_value_set(name, json.dumps(value))
        return value
    return json.loads(_wait_for(name))


def wait_for_first() -> None:
    """Return once the first process is here, however long that takes: what it wrote before is there to be read."""
    from_first(lambda: None)


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """Wait before a `with` block, except in the first process, until that one has left it: its results are there."""
    if not is_first():
        wait_for_first()
    yield
    if is_first():
        wait_for_first()


def require_equal(subject: str, values: dict[str, object]) -> None:
    """Raise InputError if a named value of this process is not the first process's.

    Args:
        subject: the values in general, for the error.
        values: that JSON can hold.
    """
    ours = json.loads(json.dumps(values))
    first = from_first(lambda: ours)
    for name in sorted(ours.keys() | first.keys()):
        if ours.get(name) != first.get(name):
            raise InputError(
                f"{subject}: {name} is {ours.get(name)!r} in process {number()} and {first.get(name)!r} in process 0; "
                "expected the same in all processes"
            )


def is_set_anywhere(flag: bool) -> bool:
    """Return whether a flag is set in any process, after a transfer between the devices of all."""
    return flag if count() == 1 else bool(multihost_utils.process_allgather(np.array(flag)).any())


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGTERM has arrived; within the `with` block it does nothing else.

    Outside of Python's main thread signals are not handled, and none is reported.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: requested.set())
    try:
        yield requested.is_set
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextmanager
def removed_on_leaving(remove: Callable[[], object]) -> Iterator[None]:
    """Run `remove` if this process leaves from inside of the block, because of an error of another one."""
    _leftovers.append(remove)
    try:
        yield
    finally:
        _leftovers.remove(remove)


def leave(code: int) -> NoReturn:
    """Run all functions of `removed_on_leaving`, and end this process at once, whatever its threads do."""
    for remove in list(_leftovers):
        with suppress(OSError):
            remove()
    os._exit(code)


def _wait_for(name: str) -> str:
    """The value of a name, once a process gives it one; a process that has died ends the others, see `tools.ends`."""
    while True:
        try:
            return global_state.client.blocking_key_value_get(name, _SLICE)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
