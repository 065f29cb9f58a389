"""Arrays from untrusted pickles: torch's .pth, zip and old stream, and trees of numpy arrays.

It never calls torch or numpy for a pickle: `pickle_records` gives inert records, and those of tensors and arrays become
arrays afterwards. Any other object is a placeholder.
"""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wsol_jax.paths import readable
from wsol_jax.weights.array_records import (
    MAKERS,
    Storage,
    Stored,
    dtype_of,
    is_array,
    kind_of,
    no_storage,
    numbers_of,
    storage_record,
    to_array,
)
from wsol_jax.weights.pickle_records import read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C  # begins torch's old stream, before the zip files of torch 1.6
_MAX_DEPTH, _MAX_ENTRIES = 8, 100_000
_MAX_GROWTH = 8  # of the numbers of a file: tensors may share them
WRAPPERS = (  # keys of the network where training scripts also save an optimiser, an epoch, ...
    *("state_dict", "model", "module", "model_state_dict", "model_ema", "state_dict_ema", "net", "network", "params"),
    *("weights", "student", "teacher"),
)


class _Pickles:
    """The pickles of one file; `storages` are those that it has named, by key."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}

    def read(self, stream: io.BytesIO) -> Any:
        """Return the value of the next pickle."""
        return read_pickle(stream, MAKERS, self._storage_of)

    def _storage_of(self, pid: Any) -> Storage:
        storage = storage_record(pid)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"two different storages {storage.key!r}")
        return storage


def read_state_dict(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return {name: array} of a pickle of torch or numpy, and the names of its other entries.

    Of a training checkpoint, the dict under one of `WRAPPERS`, or else the only one that holds tensors, more than there
    are next to it. Its other entries are not read, nor those of the dict that are no arrays.

    Args:
        path: a torch checkpoint, a zip file or the old stream; or a pickled dict of numpy arrays.

    Raises:
        Exception: of any kind, where the file is damaged or holds no dict of arrays.
    """
    return _read_zip(path) if zipfile.is_zipfile(readable(path)) else _read_stream(path)


def read_tree(path: Path) -> dict[str, Any]:
    """Return the nested dict of numpy arrays in a pickle.

    Raises:
        Exception: of any kind, where the file is damaged or holds anything but dicts of plain arrays.
    """
    return _tree(_Pickles().read(io.BytesIO(path.read_bytes())), [0], ())


def _read_zip(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The state dict of a torch zip file."""
    with zipfile.ZipFile(readable(path)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("a compressed zip; torch writes them uncompressed")
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise ValueError("a zip whose members overlap")
        roots = [n.removesuffix("data.pkl") for n in archive.namelist() if n.split("/")[1:] == ["data.pkl"]]
        if len(roots) != 1:
            raise ValueError(f"a zip with {len(roots)} files data.pkl; a torch checkpoint has one")
        (root,) = roots
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("a big-endian file")
        tree = _Pickles().read(io.BytesIO(archive.read(f"{root}data.pkl")))
        kept: dict[str, np.ndarray] = {}

        def stored(storage: Storage) -> np.ndarray:
            if storage.key not in kept:
                kept[storage.key] = numbers_of(archive.read(f"{root}data/{storage.key}"), storage)
            return kept[storage.key]

        return _state_dict(tree, stored, path.stat().st_size)


def _read_stream(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The same of torch's old format, five pickles, then length and numbers of each storage; or of one pickle."""
    data = memoryview(path.read_bytes())  # its slices are no copies: many tensors may lie on one storage
    stream, pickles, size = io.BytesIO(data.obj), _Pickles(), len(data)
    first = pickles.read(stream)
    if type(first) is not int:
        return _state_dict(first, no_storage, size)
    if first != _MAGIC:
        raise ValueError("neither a torch zip file nor torch's old stream")
    _, system = (pickles.read(stream) for _ in range(2))
    if not system["little_endian"]:
        raise ValueError("a big-endian file")
    tree, places = pickles.read(stream), {}
    for key in pickles.read(stream):
        storage = pickles.storages[key]
        (length,) = struct.unpack("<q", stream.read(8))
        if length != storage.length:
            raise ValueError(f"storage {key!r} is {length} long; expected {storage.length}")
        places[key] = stream.tell()
        stream.seek(length * dtype_of(storage).itemsize, io.SEEK_CUR)
    if stream.tell() > size:
        raise ValueError("it ends before its last storage does")

    def stored(storage: Storage) -> np.ndarray:
        start = places[storage.key]
        return numbers_of(data[start : start + storage.length * dtype_of(storage).itemsize], storage)

    return _state_dict(tree, stored, size)


def _network_of(tree: Any) -> tuple[dict, list[str]]:
    """The dict of a tree that holds the network, and the names of the entries around it."""
    known: dict[int, int] = {}  # each dict is counted once: a million entries may be one and the same

    def count_arrays(value: Any) -> int:
        if type(value) is dict and id(value) not in known:
            known[id(value)] = sum(map(is_array, value.values()))
        return known[id(value)] if type(value) is dict else 0

    return _unwrapped(tree, count_arrays, 0)


def _unwrapped(tree: Any, count_arrays: Callable[[Any], int], depth: int) -> tuple[dict, list[str]]:
    if type(tree) is not dict:
        raise ValueError(f"it holds a {kind_of(tree)}; expected a dict of tensors, such as torch's model.state_dict()")
    wrappers = [name for name in WRAPPERS if type(tree.get(name)) is dict]
    whole = [name for name in wrappers if count_arrays(tree[name])]
    others = [name for name, value in tree.items() if count_arrays(value)]
    own = count_arrays(tree)  # a few next to a network are the state of random numbers, a mean, ...
    is_network = own and own >= max((count_arrays(tree[name]) for name in others), default=0)
    if whole:
        name = whole[0]
    elif is_network or depth == _MAX_DEPTH or not (wrappers or others):
        return tree, []
    elif len(others) > 1:
        raise ValueError(f"it holds {len(others)} dicts of tensors, {_listed(others)}; expected one network")
    else:
        name = (others or wrappers)[0]
    state, around = _unwrapped(tree[name], count_arrays, depth + 1)
    return state, [str(key) if type(key) in (str, int) else "others" for key in tree if key != name] + around


def _listed(names: list[Any]) -> str:
    return ", ".join(str(name)[:40] for name in names[:5] if type(name) in (str, int))


def _state_dict(tree: Any, stored: Stored, size: int) -> tuple[dict[str, np.ndarray], list[str]]:
    state, others = _network_of(tree)
    strange = [name for name in state if type(name) is not str]
    if strange:
        raise ValueError(f"a name of an entry is a {type(strange[0]).__name__}; expected text")
    values = {name: value for name, value in state.items() if is_array(value)}
    if not values and state:
        name, value = next(iter(state.items()))
        raise ValueError(f"entry {name!r} is a {kind_of(value)}; expected an array")
    arrays, total = {}, 0
    for name, value in values.items():
        arrays[name] = to_array(value, stored, name)
        total += arrays[name].nbytes
        if total > _MAX_GROWTH * size:
            raise ValueError(f"its tensors take more than {_MAX_GROWTH} times the {size} bytes of the file")
    return arrays, others + [name for name in state if name not in values]


def _tree(node: Any, count: list[int], path: tuple[str, ...]) -> Any:
    """A tree of records as a tree of arrays; `count` grows with every entry, since a dict may hold itself."""
    count[0] += 1
    if len(path) > _MAX_DEPTH or count[0] > _MAX_ENTRIES:
        raise ValueError("a dict nested without end")
    if type(node) is dict:
        return {str(name): _tree(value, count, (*path, str(name))) for name, value in node.items()}
    return to_array(node, no_storage, ".".join(path))
