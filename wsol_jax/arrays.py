"""Arrays of a workdir: a damaged file, or one of something else, is one line; large ones stay in files."""

import math
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from wsol_jax.errors import InputError
from wsol_jax.paths import RemotePath, StoreError, readable

AGAIN = "delete it, and the same command computes it again"
IN_MEMORY = 2**28  # bytes of an array that may be in memory
AT_ONCE = 4096  # rows that are converted at a time
_DAMAGED = (OSError, ValueError, EOFError, KeyError, TypeError, MemoryError, zipfile.BadZipFile)


def read_array(
    file: Path, shape: Sequence[int | None], mapped: bool = False, kinds: str = "f", advice: str = AGAIN
) -> np.ndarray:
    """Return the array of numbers of a .npy file.

    Args:
        file: the file.
        shape: of the array; None is any length.
        mapped: whether its numbers stay in the file until they are used; those of a remote file are all in memory.
        kinds: of numbers, letters of `np.dtype.kind`: 'f' for floating-point, 'iu' for whole ones.
        advice: what to do about a damaged file, for the error.

    Raises:
        InputError: it is no such file, or of another shape or other kinds of numbers.
    """
    try:
        mode = "r" if mapped and not isinstance(file, RemotePath) else None
        array = np.load(readable(file), mmap_mode=mode, allow_pickle=False)
        _check(array, shape, kinds)
    except StoreError:
        raise
    except _DAMAGED as error:
        raise _damaged(file, error, advice) from error
    return array


def read_arrays(file: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Return some arrays of numbers or text of a .npz file.

    Args:
        file: the file.
        names: of the arrays.

    Raises:
        InputError: it is no such file, lacks one of them, or one holds objects.
    """
    try:
        with np.load(readable(file), allow_pickle=False) as saved:
            arrays = [saved[name] for name in names]
        for name, array in zip(names, arrays, strict=True):
            if array.dtype.kind not in "fiubU":
                raise ValueError(f"{name} holds {array.dtype}, expected numbers or text")
    except StoreError:
        raise
    except _DAMAGED as error:
        raise _damaged(file, error, AGAIN) from error
    return arrays


def scratch(folder: Path | None, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Return an array of zeros to be filled; a large one is mapped to a file that vanishes with it.

    Its pages are then the system's to write out and to drop, so that memory does not bound its size.

    Args:
        folder: of the file, which has no name in it; created if it does not exist. None keeps the array in memory; for
            one in a store, the file is in this machine's temporary folder.
        shape: of the array.
        dtype: of the array.

    Raises:
        OSError: there is no room for the file.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if folder is None or size <= IN_MEMORY:
        return np.zeros(shape, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=None if isinstance(folder, RemotePath) else folder) as file:
        # Room that is not there is an error here, and not the end of the process in the middle of its work.
        os.posix_fallocate(file.fileno(), 0, size) if hasattr(os, "posix_fallocate") else file.truncate(size)
        return np.asarray(np.memmap(file, dtype, "r+", shape=tuple(shape)))


def save_as(file: BinaryIO, array: np.ndarray, dtype: type) -> None:
    """Write an array as numbers of another type, as np.save would, without a converted copy of all of it.

    Args:
        file: opened for writing.
        array: [n, ...].
        dtype: of the numbers in the file.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for start in range(0, len(array), AT_ONCE):
        file.write(array[start : start + AT_ONCE].astype(dtype).tobytes())


def _check(array: np.ndarray, shape: Sequence[int | None], kinds: str) -> None:
    fits = getattr(array, "ndim", -1) == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in kinds:
        kind = f"{array.dtype} {list(array.shape)}" if hasattr(array, "shape") else type(array).__name__
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        numbers = "floating-point" if kinds == "f" else "whole"
        raise ValueError(f"it holds {kind}, expected {numbers} numbers [{wanted}]")


def _damaged(file: Path, error: Exception, advice: str) -> InputError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(f"{file} is damaged ({reason}); {advice}")
