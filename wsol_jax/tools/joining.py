"""The start of several processes: none goes on before all are there and run the same program."""

import argparse
import errno
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import jax
from absl import logging
from jax._src.distributed import global_state  # see `wsol_jax.processes`

from wsol_jax import processes
from wsol_jax.errors import InputError
from wsol_jax.runs.agreement import require_same_program
from wsol_jax.tools import heartbeats
from wsol_jax.tools.ends import End, end_with_others, stopped

SECONDS_FOR_COORDINATOR = 40  # until process 0 answers
SECONDS_FOR_ANSWER = 15  # of its port, then
SECONDS_FOR_ALL = 300  # until every process is there
_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # the frame of HTTP/2 that each side sends first, here an empty one


def connect(flags: argparse.Namespace) -> None:
    """Wait for the other processes, and join them.

    Args:
        flags: of `distributed.add_flags`.

    Raises:
        InputError: JAX does not know this environment, process 0 cannot use its port, there is another process of the
            same number, or this one has another program or count of processes than process 0.
    """
    if flags.coordinator:
        _require_one(flags)
    if flags.process_id == 0:
        _require_free(flags.coordinator)
    jax.config.update("jax_enable_preemption_service", False)  # its handler of SIGTERM would displace ours
    try:
        with _start_ends_in_time():
            jax.distributed.initialize(
                flags.coordinator,
                flags.num_processes,
                flags.process_id,
                initialization_timeout=2 * SECONDS_FOR_ALL,
                heartbeat_timeout_seconds=heartbeats.SECONDS_OF_JAX,
            )
    except (ValueError, IndexError) as error:
        raise InputError(
            f"--distributed: JAX finds no TPU pod, Slurm, Open MPI or Kubernetes here ({error}); expected "
            "--coordinator=HOST:PORT --num_processes=N --process_id=I"
        ) from error
    except RuntimeError as error:
        raise InputError(f"processes cannot be joined: {str(error).splitlines()[0]}") from error
    threading.Thread(target=end_with_others, daemon=True).start()
    if not processes.is_first():
        logging.set_verbosity(logging.WARNING)
    logging.info("%d processes", processes.count())
    require_same_program()
    processes.require_equal("command lines", {"--num_processes": processes.count()})


def _require_one(flags: argparse.Namespace) -> None:
    """Raise InputError if this host runs a process of the same number; JAX would abort all that it has joined."""
    if sys.platform != "linux":
        return
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(f"\0wsol_jax/{flags.coordinator}/{flags.process_id}")  # a name of Linux alone, in no folder
    except OSError as error:  # also for a host's name that is too long, about which nothing is known then
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"--process_id={flags.process_id}: this host runs process {flags.process_id} of "
                f"--coordinator={flags.coordinator} already; expected another number for each"
            ) from error
    holder.detach()  # open, with its name, until this process ends


def _require_free(coordinator: str) -> None:
    """Raise InputError if another program has the coordinator's port; JAX itself would crash."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(coordinator.rpartition(":")[2])))
        except OSError as error:
            raise InputError(f"--coordinator={coordinator}: this port cannot be used ({error.strerror})") from error


@contextmanager
def _start_ends_in_time() -> Iterator[None]:
    """End this process with one line if the others do not come while it is inside of the block, or at a signal.

    Inside of JAX, Python handles no signal, and JAX itself would abort with a trace of its C++ code.
    """
    events, signals = socket.socketpair()
    signals.setblocking(False)
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.set_wakeup_fd(signals.fileno()) if is_main else -1
    threading.Thread(target=_end_start_in_time, args=(events,), daemon=True).start()
    try:
        yield
    finally:
        if is_main:
            signal.set_wakeup_fd(before)
        signals.close()


def _end_start_in_time(events: socket.socket) -> None:
    """End this process unless the start is over in time.

    Args:
        events: the numbers of signals, until the start is over.
    """
    if _is_over(events, SECONDS_FOR_COORDINATOR):
        return
    address = global_state.coordinator_address
    if not _is_coordinator(address):
        line = (
            f"process {processes.number()} waited {SECONDS_FOR_COORDINATOR} s for process 0 at {address}, where "
            "nothing answers, or another program; expected its host and a port that no firewall closes"
        )
    elif _is_over(events, SECONDS_FOR_ALL - SECONDS_FOR_COORDINATOR):
        return
    else:
        line = f"not all {processes.count()} processes came within {SECONDS_FOR_ALL} s; expected one command for each"
    _end_start(End(2, f"error: {line}"))


def _is_over(events: socket.socket, seconds: float) -> bool:
    """Whether the start is over within some seconds; a signal ends this process."""
    events.settimeout(seconds)
    try:
        number = events.recv(1)
    except TimeoutError:
        return False
    if number:
        is_term = number[0] == signal.SIGTERM
        _end_start(stopped(SystemExit(processes.STOPPED) if is_term else KeyboardInterrupt()))
    return True


def _end_start(end: End) -> NoReturn:
    print(end.line, file=sys.stderr, flush=True)
    processes.leave(end.code)


def _is_coordinator(address: str | None) -> bool:
    """Whether a server of gRPC, as JAX's coordination is one, answers at an address."""
    host, _, port = (address or "").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), SECONDS_FOR_ANSWER) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS)
            answer = connection.makefile("rb").read(len(_SETTINGS))
    except (OSError, ValueError):
        return False
    return answer[3:4] == _SETTINGS[3:4]
