"""A reader of .safetensors files, by their specification: a length, a JSON header, and the numbers without a gap."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64}
"""Name of a type in the file -> the type."""


def read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], tuple[()]]:
    """Return {name: array} of a file, sorted by name, and the names of its other entries: it has none.

    Raises:
        ValueError: the file is damaged: a name comes twice, tensors overlap, leave a gap or do not fill their shapes.
    """
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError(f"its header has {length} bytes, the file {len(data)}")
    header = json.loads(data[8 : 8 + length], object_pairs_hook=_without_twins)
    if type(header) is not dict:
        raise ValueError("its header is no JSON object")
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    numbers, end = memoryview(data)[8 + length :], 0
    arrays = {}
    for name, entry in sorted(entries.items(), key=lambda item: _place(*item)):
        begin, stop = _place(name, entry)
        if begin != end:
            raise ValueError(f"{name!r} begins at {begin}, where the numbers before it end at {end}")
        arrays[name], end = _array(name, entry, numbers[begin:stop]), stop
    if end != len(numbers):
        raise ValueError(f"it has {len(numbers)} bytes of numbers, its header names {end}")
    return dict(sorted(arrays.items())), ()


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    counts = Counter(name for name, _ in pairs)
    if len(counts) < len(pairs):
        raise ValueError(f"{counts.most_common(1)[0][0]!r} comes twice in its header")
    return dict(pairs)


def _place(name: str, entry: Any) -> tuple[int, int]:
    place = entry.get("data_offsets") if type(entry) is dict else None
    if type(place) is not list or len(place) != 2 or not all(type(n) is int and n >= 0 for n in place):
        raise ValueError(f"{name!r} has no place in the file")
    return place[0], place[1]


def _array(name: str, entry: dict[str, Any], data: memoryview) -> np.ndarray:
    kind, shape = entry.get("dtype"), entry.get("shape")
    if type(kind) is not str or kind not in TYPES:
        raise ValueError(f"{name!r} has numbers of type {kind}; expected {', '.join(TYPES)}")
    sane = type(shape) is list and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape)
    if not sane or math.prod(shape) * np.dtype(TYPES[kind]).itemsize != len(data):
        raise ValueError(f"{name!r} has a shape that its bytes do not fill")
    return np.frombuffer(data, TYPES[kind]).reshape(shape)
