"""The records of tensors and arrays in a pickle, and how they become arrays, once every size has been checked."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from wsol_jax.weights.pickle_records import Built, Global, Opaque, plain_key

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


class Storage(NamedTuple):
    """A run of numbers, stored apart from the pickle under `key`."""

    kind: str
    key: str
    length: int


class _Tensor(NamedTuple):
    """A strided view of a storage; offset and strides in numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Text(NamedTuple):
    """Bytes that an old pickle writes as text."""

    text: Any


Stored = Callable[[Storage], np.ndarray]  # the numbers [length] of a storage, read when they are needed


def _tensor(arguments: tuple) -> Any:
    storage, offset, shape, strides = arguments[:4]
    sane = type(storage) is Storage and type(shape) is type(strides) is tuple
    return _Tensor(storage, offset, shape, strides) if sane else Opaque("tensor of another kind")


def _with_type(arguments: tuple) -> Any:
    """A tensor of a class of its own, or with attributes: (how it is rebuilt, its class, the arguments, its state)."""
    function, _, inner = arguments[:3]
    maker = MAKERS.get(function.name) if type(function) is Global else None
    return maker(inner) if maker in (_tensor, _first) and type(inner) is tuple else Opaque("tensor of another kind")


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> Built:
    """The array of a pickle of protocol 5."""
    array = Built("array", ())
    array.state = (1, shape, dtype, order == "F" if type(order) is str else False, data)
    return array


def _first(arguments: tuple) -> Any:
    return arguments[0]


def _ordered_dict(arguments: tuple) -> dict:
    """An OrderedDict: Python 3 adds the items later, Python 2 has them as pairs in a list.

    They are moved out of the list, so that calls with one and the same list do not take longer than making it did.
    """
    pairs = arguments[0] if arguments and type(arguments[0]) is list else []
    items = {plain_key(pair[0]): pair[1] for pair in pairs if type(pair) in (list, tuple) and len(pair) == 2}
    pairs.clear()
    return items


MAKERS: dict[str, Callable[[tuple], Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": lambda _: {},
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _with_type,
    "numpy.dtype": lambda arguments: Built("dtype", arguments),
    "numpy.core.multiarray._reconstruct": lambda arguments: Built("array", arguments),
    "numpy._core.multiarray._reconstruct": lambda arguments: Built("array", arguments),
    "numpy.core.numeric._frombuffer": lambda arguments: _from_buffer(*arguments),
    "numpy._core.numeric._frombuffer": lambda arguments: _from_buffer(*arguments),
    "_codecs.encode": lambda arguments: _Text(arguments[0]),
}
"""The calls of a pickle that have a meaning here -> the record of their result."""


def storage_record(pid: Any) -> Storage:
    """Return the record of a persistent id of torch's.

    Raises:
        ValueError: it is none.
    """
    if type(pid) is not tuple or not 5 <= len(pid) <= 6 or pid[0] != "storage" or type(pid[1]) is not Global:
        raise ValueError("a strange storage")
    _, kind, key, _, length, *view = pid
    if type(key) is not str or type(length) is not int or length < 0 or any(v is not None for v in view):
        raise ValueError("a strange storage")
    return Storage(kind.name.removeprefix("torch."), key, length)


def is_array(value: Any) -> bool:
    """Return whether a record is that of a tensor or an array of plain numbers."""
    return type(value) is _Tensor or (_is_plain_record(value) and _code_of(value.state[2]) in _PLAIN)


def _is_plain_record(value: Any) -> bool:
    is_array = type(value) is Built and value.kind == "array"
    return is_array and type(value.state) is tuple and len(value.state) == 5


def kind_of(value: Any) -> str:
    """Return the kind of a value of a pickle, for an error."""
    return value.kind[:100] if type(value) in (Opaque, Built) else type(value).__name__


def no_storage(storage: Storage) -> np.ndarray:
    """Raise ValueError: a pickle alone has no numbers of tensors."""
    raise ValueError(f"a pickle without the numbers of its storage {storage.key!r}")


def dtype_of(storage: Storage) -> np.dtype:
    """Return the type of the numbers of a storage.

    Raises:
        ValueError: it is not known here.
    """
    if storage.kind not in _STORAGES:
        raise ValueError(f"a storage of {storage.kind}; expected {', '.join(_STORAGES)}")
    return np.dtype(_STORAGES[storage.kind])


def numbers_of(data: bytes | memoryview, storage: Storage) -> np.ndarray:
    """Return the numbers [length] of a storage, from its bytes.

    Raises:
        ValueError: there are more or fewer bytes than it names.
    """
    dtype = dtype_of(storage)
    if len(data) != storage.length * dtype.itemsize:
        raise ValueError(f"storage {storage.key!r} has {len(data)} bytes; expected {storage.length * dtype.itemsize}")
    return np.frombuffer(data, dtype)


def to_array(record: Any, stored: Stored, name: str) -> np.ndarray:
    """Return the array of a record, which is never written to.

    Args:
        record: of a pickle.
        stored: the numbers of a storage.
        name: of the entry, for errors.

    Raises:
        ValueError: it is no array, or its shape does not fit its numbers.
    """
    if type(record) is _Tensor:
        return _view(record, stored(record.storage), name)
    if type(record) is Built and record.kind == "array":
        return _plain_array(record, name)
    raise ValueError(f"entry {name!r} is a {kind_of(record)}; expected an array")


def _view(tensor: _Tensor, numbers: np.ndarray, name: str) -> np.ndarray:
    """The tensor, which must lie inside its storage and be no larger."""
    _, offset, shape, strides = tensor
    sane = len(shape) == len(strides) <= 8 and all(type(n) is int and n >= 0 for n in (offset, *shape, *strides))
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if sane else 0
    if not sane or math.prod(shape) > len(numbers) or (math.prod(shape) and last >= len(numbers)):
        raise ValueError(f"tensor {name!r} does not lie inside its storage")
    if not math.prod(shape):
        return np.zeros(shape, numbers.dtype)
    steps = [stride * numbers.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps, writeable=False)


def _plain_array(record: Built, name: str) -> np.ndarray:
    """The array of a numpy pickle, in this machine's byte order."""
    if not _is_plain_record(record):
        raise ValueError(f"array {name!r} has no shape")
    _, shape, kind, fortran, data = record.state
    dtype = _plain_dtype(kind)
    data = data.text if type(data) is _Text else data
    data = data.encode("latin-1") if type(data) is str else data
    sane = type(shape) is tuple and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape)
    if not sane or type(data) not in (bytes, bytearray) or len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"array {name!r} has a shape that its bytes do not fill")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran is True else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _code_of(kind: Any) -> str:
    is_dtype = type(kind) is Built and kind.kind == "dtype" and kind.arguments and type(kind.arguments[0]) is str
    return kind.arguments[0] if is_dtype else ""


def _plain_dtype(kind: Any) -> np.dtype:
    """The dtype of a numpy pickle: a plain code, and a byte order in its state."""
    code = _code_of(kind)
    if code not in _PLAIN:
        raise ValueError(f"an array of dtype {code[:20]!r}; only plain numbers are read")
    order = kind.state[1] if type(kind.state) is tuple and len(kind.state) > 1 else "="
    if type(order) is not str or order not in ("<", "|", ">", "="):
        raise ValueError("an array with a strange byte order")
    return np.dtype(order + code)
