"""A command in several processes: their flags, and one exit code and line for all of them."""

import argparse
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import jax
from jax._src.distributed import global_state  # see `wsol_jax.processes`

from wsol_jax import processes
from wsol_jax.errors import InputError
from wsol_jax.tools.command_line import Parser
from wsol_jax.tools.ends import End, leave, others_first, publish, stopped
from wsol_jax.tools.joining import connect


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Append the flags of several processes to those of a parser."""
    group = parser.add_argument_group("several processes, each started with this command (docs/scaling.md)")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="TPU pods, Slurm, Open MPI, Kubernetes: JAX finds the others",
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="elsewhere: of process 0, any free port")
    group.add_argument("--num_processes", type=int, metavar="N", help="how many there are")
    group.add_argument("--process_id", type=int, metavar="I", help="which one this is, 0 to N - 1")


def split_flags(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the flags of `add_flags` in a command line, and its other arguments.

    Raises:
        InputError: a value is of another type.
    """
    parser = Parser(add_help=False)
    add_flags(parser)
    return parser.parse_known_args(arguments)


def run_together(arguments: Sequence[str], command: Callable[[Sequence[str]], object]) -> int:
    """Run a command in every process; the first that fails ends all of them.

    Args:
        arguments: of the command line; `command` receives those that are not the flags of `add_flags`.
        command: raises InputError or OSError for a mistake.

    Returns:
        The exit code: 0, 2 after a mistake, 130 after Ctrl-C, `processes.STOPPED` after SIGTERM, 1 after an error in
        the program. With several processes, one that failed does not return.
    """
    with _signals_stop() as stops:
        end = _end_of(lambda: _run(arguments, command), stops)
    if end.line:
        print(end.line, file=sys.stderr, flush=True)
    if end.code and global_state.client is not None:
        publish(end, processes.number())
        leave(end.code)
    return end.code


def _run(arguments: Sequence[str], command: Callable[[Sequence[str]], object]) -> None:
    flags, others = split_flags(arguments)
    if _are_several(flags):
        connect(flags)
    with others_first():
        command(others)
    if global_state.client is not None:
        processes.wait_for_first()
        jax.distributed.shutdown()  # returns once all are here


def _are_several(flags: argparse.Namespace) -> bool:
    """Whether other processes are to be joined.

    Raises:
        InputError: the flags contradict each other, or are not all there.
    """
    by_hand = {name: getattr(flags, name) for name in ("coordinator", "num_processes", "process_id")}
    given = [name for name, value in by_hand.items() if value is not None]
    if flags.distributed and given:
        raise InputError(f"command line: --distributed and --{given[0]} are both given; expected one of them")
    if not given:
        return flags.distributed
    if missing := [name for name in by_hand if name not in given]:
        raise InputError(f"command line: --{given[0]} is given; expected --{missing[0]} as well")
    host, _, port = flags.coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"command line: --coordinator={flags.coordinator}: expected HOST:PORT")
    if flags.num_processes < 1:
        raise InputError(f"command line: --num_processes={flags.num_processes}: expected 1 or more")
    if not 0 <= flags.process_id < flags.num_processes:
        raise InputError(
            f"command line: --process_id={flags.process_id}: expected 0 to {flags.num_processes - 1}, "
            f"of --num_processes={flags.num_processes}"
        )
    return True


@contextmanager
def _signals_stop() -> Iterator[list[BaseException]]:
    """Raise SystemExit when SIGTERM arrives, KeyboardInterrupt after Ctrl-C; yield a list of those that were raised.

    A training replaces the handler of SIGTERM by `processes.stop_requests`.
    """
    raised: list[BaseException] = []

    def stop(number: int, _: object) -> NoReturn:
        raised.append(SystemExit(processes.STOPPED) if number == signal.SIGTERM else KeyboardInterrupt())
        raise raised[-1]

    if threading.current_thread() is not threading.main_thread():
        yield raised
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell in the background ignores Ctrl-C
        before[signal.SIGINT] = signal.signal(signal.SIGINT, stop)
    try:
        yield raised
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _end_of(command: Callable[[], object], stops: Sequence[BaseException]) -> End:
    """How a command ends.

    Args:
        command: the command.
        stops: what handlers of signals have raised by then. TensorFlow replaces it by an error of its own if the signal
            arrives while it raises the end of the data.
    """
    try:
        command()
    except (InputError, OSError) as error:
        return End(2, f"error: {' '.join(str(error).split())}")
    except MemoryError as error:
        return End(2, f"error: out of memory: {' '.join(str(error).split()) or 'no size known'}")
    except (KeyboardInterrupt, SystemExit) as error:
        return stopped(error)
    except Exception as error:
        if stops:
            return stopped(stops[0])
        if global_state.client is None:
            raise
        traceback.print_exc()
        return End(1, f"error: {type(error).__name__}: {' '.join(str(error).split())}")
    return End(0, "")
