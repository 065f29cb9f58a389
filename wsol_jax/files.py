"""Files that are complete or absent, and file names that are safe on every system."""

import contextlib
import io
import json
import os
import re
import socket
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from wsol_jax import processes
from wsol_jax.paths import RemotePath

UNFINISHED = ".part"  # the ending of files that are not whole
_AT_ONCE = 4096  # items of a JSON list that are written together


def user_folder(name: str) -> Path:
    """Return a folder of this program in the user's cache folder, $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "wsol_jax" / name


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, whole or not at all; of the processes of a run only the first one does.

    Args:
        path: the file; its folder is created if it does not exist.
        write: writes the content into the open binary file that it receives.

    Raises:
        OSError: it cannot be written; the error names it, and nothing is left.
    """
    if processes.is_first():
        write_in_each_process(path, write)


def write_in_each_process(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, whole or not at all, in every process that calls this: it may be one of a host's own disk.

    The content of a remote file is in memory until it is sent, at once.

    Several processes, also of several runs and on different hosts, may write the same file at once; one of their
    versions remains, whole.

    Args:
        path: as in `write_atomically`.
        write: as in `write_atomically`.

    Raises:
        OSError: as `write_atomically`.
    """
    if isinstance(path, RemotePath):
        content = io.BytesIO()
        write(content)
        path.write_bytes(content.getvalue())
        return
    unfinished = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}{UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            write(file)
        os.replace(unfinished, path)  # noqa: PTH105 - Path.replace does not document that it is atomic
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        if isinstance(error, OSError):  # those of numpy and Arrow name no file
            reason = error.strerror or " ".join(str(error).split())
            raise OSError(f"{path} cannot be written ({reason}); is the disk full, or read-only?") from error
        raise


def write_json_list(file: BinaryIO, items: Iterable[Any]) -> None:
    """Write a JSON list as `json.dumps` does, without holding all of it in memory.

    Args:
        file: opened for writing.
        items: of any number, also from a generator.
    """
    left, separator = iter(items), b"["
    while some := list(islice(left, _AT_ONCE)):
        file.write(separator + json.dumps(some)[1:-1].encode())
        separator = b", "
    file.write(b"[]" if separator == b"[" else b"]")


def clear_unfinished(folder: Path) -> list[Path]:
    """Remove the unfinished files of `write_atomically` in a folder whose writers are dead; return them.

    Those of other hosts stay, since it is not known here whether their writers live.

    Args:
        folder: with its folders.
    """
    if isinstance(folder, RemotePath):
        return []  # an object is whole
    dead = [path for path in folder.rglob(f"*{UNFINISHED}") if _is_dead(path.name)]
    for path in dead:
        path.unlink(missing_ok=True)
    return dead


def is_alive(process: int) -> bool:
    """Return whether a process of this host runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # another user's; or no number of a process, of which nothing is known
    return True


def _is_dead(name: str) -> bool:
    """Whether the writer of an unfinished file is a process of this host that does not run."""
    whole, _, process = name.removesuffix(UNFINISHED).rpartition(".")
    return process.isdecimal() and whole.endswith(f".{socket.gethostname()}") and not is_alive(int(process))


def file_name(number: int, name: str) -> str:
    """Return a file name for class `number`, called `name`: the number and the characters that every system allows.

    >>> file_name(12, "Red-winged blackbird")
    '0012_Red-winged_blackbird'
    """
    return f"{number:04d}_{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:80]}"
