"""Arrays from untrusted pickles: torch's .pth, zip and old stream, and trees of numpy arrays.

A pickle is a program. Here it may build dicts, lists, numbers, strings and the records below; any other name stops the
reading. It never calls torch or numpy: records become arrays afterwards, when every size has been checked.
"""

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C  # begins torch's old stream, before the zip files of torch 1.6
_MAX_DEPTH, _MAX_ENTRIES = 8, 100_000
_WRAPPERS = ("state_dict", "model")  # keys of the network where training scripts also save an optimiser, an epoch, ...

_STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_PLAIN = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class _Storage(NamedTuple):
    """A run of numbers, stored apart from the pickle under `key`."""

    kind: str
    key: str
    length: int


class _Tensor(NamedTuple):
    """A strided view of a storage; offset and strides in numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Dtype:
    """A substitute for numpy.dtype: a plain code, and a byte order that comes later."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in _PLAIN:
            raise pickle.UnpicklingError(f"an array of dtype {code!r}; only plain numbers are read")
        self.code = code

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", "|", ">", "="):
            raise pickle.UnpicklingError("an array with a strange byte order")
        self.code = state[1] + self.code[-2:]


class _Array:
    """A substitute for numpy.ndarray, with the state that its pickle sets."""

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state


class _Unpickler(pickle.Unpickler):
    """A reader of trees of records; `storages` are those that it has read, by key.

    A pickle can set attributes of every object that it names: so all of them are made for one reading alone.
    """

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return name
        admitted = {
            "collections.OrderedDict": OrderedDict,
            "argparse.Namespace": type("Namespace", (), {"__setstate__": lambda *_: None}),  # a script's arguments
            "torch._utils._rebuild_tensor": lambda *record: _Tensor(*record),
            "torch._utils._rebuild_tensor_v2": lambda *record: _Tensor(*record[:4]),
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "numpy.ndarray": "ndarray",
            "numpy.dtype": lambda *record: _Dtype(*record),
            "numpy.core.multiarray._reconstruct": lambda *_: _Array(),
            "numpy._core.multiarray._reconstruct": lambda *_: _Array(),
        }
        if f"{module}.{name}" not in admitted:
            raise pickle.UnpicklingError(f"it names {module}.{name}; only arrays, numbers and strings are read")
        return admitted[f"{module}.{name}"]

    def persistent_load(self, pid: tuple) -> _Storage:
        _, kind, key, _, length, *view = pid
        storage = _Storage(kind, key, length)
        if pid[0] != "storage" or kind not in _STORAGES or any(view) or not isinstance(length, int) or length < 0:
            raise pickle.UnpicklingError(f"a strange storage {pid!r}")
        if self.storages.setdefault(key, storage) != storage:
            raise pickle.UnpicklingError(f"two different storages {key!r}")
        return storage


def read_state_dict(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return {name: array} of a torch checkpoint, zip or old stream, and the names of its other entries.

    Of a training checkpoint, the dict under 'state_dict' or 'model'; its other entries are not read.

    Raises:
        Exception: of any kind, where the file is damaged or holds anything but tensors, numbers and strings.
    """
    tree, stored = _read_zip(path) if zipfile.is_zipfile(path) else _read_stream(path)
    return _state_dict(tree, stored)


def read_tree(path: Path) -> dict[str, Any]:
    """Return the nested dict of numpy arrays in a pickle.

    Raises:
        Exception: of any kind, where the file is damaged or holds anything but dicts of plain arrays.
    """
    return _tree(_Unpickler(io.BytesIO(path.read_bytes())).load(), {}, [0], ())


def _read_zip(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """The tree of records of a torch zip file, and its storages."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("a compressed zip; torch writes them uncompressed")
        (root,) = [n.removesuffix("data.pkl") for n in archive.namelist() if n.split("/")[1:] == ["data.pkl"]]
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("a big-endian file")
        unpickler = _Unpickler(io.BytesIO(archive.read(f"{root}data.pkl")))
        tree = unpickler.load()
        stored = {s.key: _numbers(archive.read(f"{root}data/{s.key}"), s) for s in unpickler.storages.values()}
    return tree, stored


def _read_stream(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """The same of torch's old format: five pickles, then length and numbers of each storage."""
    stream = io.BytesIO(path.read_bytes())
    if _Unpickler(stream).load() != _MAGIC:
        raise ValueError("neither a torch zip file nor torch's old stream")
    _, system = (_Unpickler(stream).load() for _ in range(2))
    if not system["little_endian"]:
        raise ValueError("a big-endian file")
    unpickler = _Unpickler(stream)
    tree, stored = unpickler.load(), {}
    for key in _Unpickler(stream).load():
        storage = unpickler.storages[key]
        (length,) = struct.unpack("<q", stream.read(8))
        if length != storage.length:
            raise ValueError(f"storage {key!r} is {length} long; expected {storage.length}")
        stored[key] = _numbers(stream.read(length * np.dtype(_STORAGES[storage.kind]).itemsize), storage)
    return tree, stored


def _numbers(data: bytes, storage: _Storage) -> np.ndarray:
    """The numbers [length] of a storage."""
    dtype = np.dtype(_STORAGES[storage.kind])
    if len(data) != storage.length * dtype.itemsize:
        raise ValueError(f"storage {storage.key!r} has {len(data)} bytes; expected {storage.length * dtype.itemsize}")
    return np.frombuffer(data, dtype)


def _state_dict(tree: Any, stored: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    if not isinstance(tree, dict):
        raise ValueError(f"it holds a {type(tree).__name__}; expected a dict of tensors")
    wrapper = next((name for name in _WRAPPERS if isinstance(tree.get(name), dict)), None)
    state = tree if wrapper is None else tree[wrapper]
    others = [] if wrapper is None else [str(name) for name in tree if name != wrapper]
    return {str(name): _array(value, stored, name) for name, value in state.items()}, others


def _tree(node: Any, stored: dict[str, np.ndarray], count: list[int], path: tuple[str, ...]) -> Any:
    """A tree of records as a tree of arrays; `count` grows with every entry, since a dict may hold itself."""
    count[0] += 1
    if len(path) > _MAX_DEPTH or count[0] > _MAX_ENTRIES:
        raise ValueError("a dict nested without end")
    if isinstance(node, dict):
        return {str(name): _tree(value, stored, count, (*path, str(name))) for name, value in node.items()}
    return _array(node, stored, ".".join(path))


def _array(record: Any, stored: dict[str, np.ndarray], name: str) -> np.ndarray:
    """A record as an array of its own."""
    if isinstance(record, _Tensor) and isinstance(record.storage, _Storage):
        return _view(record, stored[record.storage.key], name)
    if isinstance(record, _Array):
        return _plain_array(record, name)
    raise ValueError(f"entry {name!r} is a {type(record).__name__}; expected an array")


def _view(tensor: _Tensor, numbers: np.ndarray, name: str) -> np.ndarray:
    """A copy of the tensor, which must lie inside its storage and be no larger."""
    _, offset, shape, strides = tensor
    sane = len(shape) == len(strides) <= 8 and all(type(n) is int and n >= 0 for n in (offset, *shape, *strides))
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if sane else 0
    if not sane or math.prod(shape) > len(numbers) or (math.prod(shape) and last >= len(numbers)):
        raise ValueError(f"tensor {name!r} does not lie inside its storage")
    if not math.prod(shape):
        return np.zeros(shape, numbers.dtype)
    steps = [stride * numbers.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps).copy()


def _plain_array(record: _Array, name: str) -> np.ndarray:
    """The array of a numpy pickle, in this machine's byte order."""
    shape, dtype = record.shape, np.dtype(record.dtype.code)
    sane = len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape) and type(record.data) is bytes
    if not sane or len(record.data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"array {name!r} has a shape that its bytes do not fill")
    array = np.frombuffer(record.data, dtype).reshape(shape, order="F" if record.fortran else "C")
    return array.astype(dtype.newbyteorder("="))
