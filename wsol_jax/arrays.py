"""Arrays of a workdir, read back: a file that is damaged, or of something else, is one line."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsol_jax.errors import InputError
from wsol_jax.paths import RemotePath, StoreError, readable

AGAIN = "delete it, and the same command computes it again"
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
