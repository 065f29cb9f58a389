"""Files that are complete or absent, and file names that are safe on every system."""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from wsol_jax import processes


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, whole or not at all; of the processes of a run only the first one does.

    Several runs, also on different hosts, may write the same file at once; one of their versions remains, whole.

    Args:
        path: the file; its folder is created if it does not exist.
        write: writes the content into the open binary file that it receives.
    """
    if not processes.is_first():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    with unfinished.open("wb") as file:
        write(file)
    os.replace(unfinished, path)  # noqa: PTH105 - Path.replace does not document that it is atomic


def file_name(number: int, name: str) -> str:
    """Return a file name for class `number`, called `name`: the number and the characters that every system allows.

    >>> file_name(12, "Red-winged blackbird")
    '0012_Red-winged_blackbird'
    """
    return f"{number:04d}_{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:80]}"
