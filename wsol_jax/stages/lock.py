"""The lock of a workdir: one run at a time, whose process it names.

The lock is a file that one process creates and removes. One that was killed leaves it; the next run sees that no such
process runs on this host, and takes its place. In gs:// it is an object that is written under the condition that there
is none, which one of several hosts can.
"""

import fcntl
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from absl import logging

from wsol_jax import processes
from wsol_jax.errors import InputError
from wsol_jax.files import UNFINISHED, clear_unfinished, is_alive
from wsol_jax.paths import RemotePath
from wsol_jax.stages.workdir import lock_file


class Holder(NamedTuple):
    """The process that holds a lock.

    Attributes:
        host: its name.
        process: its number there.
        started: when the host started it, as the host counts; 0 where that is not known. A number may come again.
        since: when it took the lock, for people.
    """

    host: str
    process: int
    started: int
    since: str


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Hold the lock of a workdir inside of the block, and remove what killed runs left there unfinished.

    It is removed at the end, also after an error or SIGTERM.

    Args:
        workdir: that exists.

    Raises:
        InputError: another process holds it, or one of a host of which nothing is known here.
    """
    file, mine = lock_file(workdir), Holder(socket.gethostname(), os.getpid(), _started(os.getpid()), _now())
    _take(file, mine)
    try:
        with _removed_by_sigterm(file), processes.removed_on_leaving(file.unlink):
            if left := clear_unfinished(workdir):
                logging.info("%d unfinished files of a run that was killed are removed", len(left))
            yield
    finally:
        if _read(file) == mine:
            file.unlink(missing_ok=True)


def _take(file: Path, mine: Holder) -> None:
    """Create the lock, in place of one whose process is dead."""
    for _ in range(10):  # others may take it and give it back meanwhile
        try:
            return _create(file, mine)
        except FileExistsError:
            holder = _read(file)
        except OSError as error:
            raise InputError(f"--workdir={file.parent}: it cannot be written to ({error.strerror})") from error
        if holder is not None and not _is_dead(holder):
            break
        if holder is None and file.exists():  # damaged, or not whole yet
            break
        if holder is not None:
            _remove(file, holder)
    raise InputError(f"--workdir={file.parent} is in use {_words(file, holder)}")


def _words(file: Path, holder: Holder | None) -> str:
    if holder is None:
        return f"by another run; if there is none, delete {file}"
    place = f"by process {holder.process} on {holder.host} since {holder.since}"
    if holder.host == socket.gethostname():
        return f"{place}; wait for it or stop it, or use another workdir"
    return f"{place}, another host; if it does not run any more, delete {file}"


def _create(file: Path, mine: Holder) -> None:
    """Create the lock with its content, at once, or raise FileExistsError."""
    content = _content(mine)
    if isinstance(file, RemotePath):
        file.create(content)
        return
    unfinished = _beside(file)
    unfinished.write_bytes(content)
    try:
        os.link(unfinished, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with file.open("xb") as lock:
            lock.write(content)
    finally:
        unfinished.unlink(missing_ok=True)


def _remove(file: Path, dead: Holder) -> None:
    """Remove the lock of a dead process, but no other that has taken its place since it was read."""
    if isinstance(file, RemotePath):
        file.remove_if(_content(dead))
        return
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without such locks
            # of those that see a dead one, one at a time; a killed one gives it back
            fcntl.flock(folder, fcntl.LOCK_EX)
        if _read(file) == dead:
            file.unlink(missing_ok=True)
    finally:
        os.close(folder)


def _content(holder: Holder) -> bytes:
    return json.dumps(holder._asdict()).encode()


def _beside(file: Path) -> Path:
    """A file of this thread alone, which `clear_unfinished` knows."""
    name = f"{file.name}.{threading.get_ident()}.{socket.gethostname()}.{os.getpid()}{UNFINISHED}"
    return file.with_name(name)


def _read(file: Path) -> Holder | None:
    """The holder of a lock; None where there is no lock, or its file is damaged."""
    try:
        fields = json.loads(file.read_bytes())
        return Holder(str(fields["host"]), int(fields["process"]), int(fields["started"]), str(fields["since"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_dead(holder: Holder) -> bool:
    """Whether the process is of this host and does not run, even if another has its number now."""
    if holder.host != socket.gethostname():
        return False
    return not is_alive(holder.process) or _started(holder.process) != holder.started


def _started(process: int) -> int:
    """When a process of this host was started, in ticks of its clock; 0 where it is not known."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


@contextmanager
def _removed_by_sigterm(file: Path) -> Iterator[None]:
    """Let SIGTERM remove the lock before it ends the process, unless something else handles it already."""
    is_free = threading.current_thread() is threading.main_thread()
    if not is_free or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, _: object) -> None:
        file.unlink(missing_ok=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
