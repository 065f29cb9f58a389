"""Files that are there whole or not at all, and names that stay where they are put."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Makes `path` (and its folder) with what `write` puts into the binary file it is given; all of it or nothing.

    Several processes may write the same file at once; it is then one of theirs, whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    with unfinished.open("wb") as file:
        write(file)
    os.replace(unfinished, path)  # noqa: PTH105 - the name says that it is atomic


def file_name(number: int, name: str) -> str:
    """A file name for the class `name`: its number, and what of the name is safe on every system."""
    return f"{number:04d}_{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:80]}"
