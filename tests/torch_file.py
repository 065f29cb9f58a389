"""A writer of torch's two checkpoint formats without torch, from numpy arrays."""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile

import numpy as np

CODES = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage"}
CODES["bfloat16"] = "BFloat16Storage"


class Tensor:
    """An array as torch pickles it, or as a forger would: offset, shape and strides may be anything."""

    def __init__(self, array, offset=0, shape=None, strides=None):
        self.array = np.asarray(array, order="C")
        steps = tuple(step // self.array.itemsize for step in self.array.strides)
        self.place = offset, self.array.shape if shape is None else shape, steps if strides is None else strides

    def __reduce__(self):
        modules = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}
        sys.modules.update(modules)
        return rebuild("_rebuild_tensor_v2"), (self.array, *self.place, False, collections.OrderedDict())


def rebuild(name):
    def function(*_):
        raise AssertionError("only its name is pickled")

    function.__module__, function.__qualname__ = "torch._utils", name
    setattr(sys.modules["torch._utils"], name, function)
    return function


class Pickler(pickle.Pickler):
    """A pickler that stores every array of numbers apart, like torch's storages."""

    def __init__(self, stream):
        super().__init__(stream, protocol=2)
        self.storages = {}

    def persistent_id(self, value):
        if not isinstance(value, np.ndarray) or value.dtype == object:
            return None
        kind = type(CODES[value.dtype.name], (), {"__module__": "torch"})
        setattr(sys.modules["torch"], kind.__name__, kind)
        key = str(len(self.storages))
        self.storages[key] = value
        return ("storage", kind, key, "cpu", value.size)


def pickled(tree):
    """(the pickle, its storages by key); afterwards there is no module called torch again."""
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    stream = io.BytesIO()
    pickler = Pickler(stream)
    try:
        pickler.dump(tree)
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module:
                sys.modules[name] = module
    return stream.getvalue(), pickler.storages


def write_zip(path, tree, compression=zipfile.ZIP_STORED):
    data, storages = pickled(tree)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())


def write_stream(path, tree):
    data, storages = pickled(tree)
    head = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    with path.open("wb") as file:
        file.write(b"".join(pickle.dumps(value, protocol=2) for value in head) + data)
        file.write(pickle.dumps(list(storages), protocol=2))
        for array in storages.values():
            file.write(struct.pack("<q", array.size) + array.tobytes())
