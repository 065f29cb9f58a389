"""The end of several processes: all of them end with the line and the exit code of the first that fails or is gone."""

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, NoReturn

import jax
from jax._src.distributed import global_state  # see `wsol_jax.processes`

from wsol_jax import processes
from wsol_jax.tools import heartbeats

CONTINUES = "stopped; the same command continues from here"
SECONDS_TO_LEAVE = 10  # until every process has read why the run ends
_END = "wsol_jax/end"
_STATUS = re.compile(r"[A-Z_]{4,}: ")  # the start of XLA's errors, such as UNKNOWN


class End(NamedTuple):
    """Why a run ends: the exit code, and a line for stderr."""

    code: int
    line: str


def stopped(error: BaseException) -> End:
    """Return the end of a command by Ctrl-C, or by `SystemExit`.

    Args:
        error: a KeyboardInterrupt or a SystemExit.
    """
    if isinstance(error, KeyboardInterrupt):
        return End(130, CONTINUES)
    return End(error.code or 0, CONTINUES if error.code == processes.STOPPED else "")


def end_with_others() -> None:
    """Wait until another process fails or is gone, and end this one, also while its main thread waits for devices."""
    client = global_state.client
    signs = heartbeats.Heartbeats(client)
    while global_state.client is client:
        time.sleep(1)
        try:
            signs.send()
            if processes.is_first() and (silent := signs.silent(heartbeats.SECONDS)) is not None:
                publish(_gone(heartbeats.SECONDS), silent)
            which, code, line = json.loads(client.key_value_try_get(_END))
        except jax.errors.JaxRuntimeError:  # no process has failed
            continue
        if which != processes.number():
            print(f"process {which}: {line}", file=sys.stderr, flush=True)
            leave(code)
        return


@contextmanager
def others_first() -> Iterator[None]:
    """Hold back an error of JAX inside of the block until the process whose end is its reason has ended this one.

    A transfer between devices fails at once where another process is gone, and so does a checkpoint.
    """
    try:
        yield
    except Exception as error:
        if processes.count() > 1 and _is_of_jax(error):
            _await_reason(" ".join(str(error).split()))
        raise


def _is_of_jax(error: BaseException | None) -> bool:
    """Whether an error is one of JAX's devices or processes, or follows from one."""
    if error is None:
        return False
    is_status = isinstance(error, ValueError) and _STATUS.match(str(error))  # so it is for failed transfers on CPU
    return isinstance(error, jax.errors.JaxRuntimeError) or bool(is_status) or _is_of_jax(error.__cause__)


def _await_reason(line: str) -> None:
    """Return if no process has failed or is gone; `end_with_others` ends this process otherwise.

    Args:
        line: the error that follows from it.
    """
    seconds = heartbeats.SECONDS_AFTER_ERROR
    signs, deadline = heartbeats.Heartbeats(global_state.client), time.monotonic() + seconds + 2
    while time.monotonic() < deadline:
        time.sleep(0.5)
        with suppress(jax.errors.JaxRuntimeError):
            if (silent := signs.silent(seconds)) is not None:
                publish(_gone(seconds, f"; process {processes.number()} then failed: {line}"), silent)
                time.sleep(2 * SECONDS_TO_LEAVE)


def _gone(seconds: float, consequence: str = "") -> End:
    return End(1, f"error: it was killed, or its host is gone: no sign of life for {seconds:g} s{consequence}")


def publish(end: End, number: int) -> None:
    """Write why a process ends, for the other processes, unless one of them was earlier.

    Args:
        end: of the process.
        number: of the process, which may be another one.
    """
    with suppress(jax.errors.JaxRuntimeError):
        global_state.client.key_value_set(_END, json.dumps([number, *end]))
        if number != processes.number():  # it is gone, and nobody has to wait until it leaves
            global_state.client.key_value_set(f"{_END}/{number}", "")


def leave(code: int) -> NoReturn:
    """Put an end to this process; the first one, which JAX's coordination depends on, is the last.

    Args:
        code: its exit code.
    """
    client, deadline = global_state.client, time.monotonic() + SECONDS_TO_LEAVE
    with suppress(jax.errors.JaxRuntimeError):
        client.key_value_set(f"{_END}/{processes.number()}", "", allow_overwrite=True)
        while processes.is_first() and time.monotonic() < deadline:
            if len(client.key_value_dir_get(f"{_END}/")) == processes.count():
                break
            time.sleep(0.1)
    processes.leave(code)
