"""The reader of .safetensors files, against its library and against forged files."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save

from wsol_jax.weights.safetensors_file import read_safetensors

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(path, entries, numbers, length=None):
    """Entries may be a dict or the text of the header."""
    header = (entries if isinstance(entries, str) else json.dumps(entries)).encode()
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + numbers)
    return path


def entry(begin, end, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_files_of_the_library_are_read(tmp_path):
    state = {"b": ARRAY, "a": ARRAY.astype(np.float16), "none": ARRAY[:0], "scalar": np.array(3)}
    (tmp_path / "w").write_bytes(save(state, {"format": "pt"}))
    back, others = read_safetensors(tmp_path / "w")
    assert list(back) == sorted(state) and others == ()
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array, strict=True)


def test_bfloat16(tmp_path):
    numbers = ARRAY.astype(ml_dtypes.bfloat16)
    write(tmp_path / "w", {"a": entry(0, 12, (2, 3), "BF16")}, numbers.tobytes())
    np.testing.assert_array_equal(read_safetensors(tmp_path / "w")[0]["a"], numbers, strict=True)


ONE = json.dumps(entry(0, 8))
FORGED = {
    "comes twice": (f'{{"a": {ONE}, "a": {ONE}}}', b"\0" * 8),
    "'b' begins at 4, where the numbers before it end at 8": ({"a": entry(0, 8), "b": entry(4, 12)}, b"\0" * 12),
    "'b' begins at 0": ({"a": entry(0, 8), "b": entry(0, 8)}, b"\0" * 8),
    "'b' begins at 12": ({"a": entry(0, 8), "b": entry(12, 20)}, b"\0" * 20),
    "20 bytes of numbers, its header names 8": ({"a": entry(0, 8)}, b"\0" * 20),
    "8 bytes of numbers, its header names": ({"a": entry(0, 8), "b": entry(8, 16, (0,))}, b"\0" * 8),
    "a shape that its bytes do not fill": ({"a": entry(0, 80, (20,))}, b"\0" * 8),
    "do not fill": ({"a": entry(0, 8, (2, 10**12))}, b"\0" * 8),
    "a shape": ({"a": entry(0, 8, (-1, -2))}, b"\0" * 8),
    "has no place": ({"a": {"dtype": "F32", "shape": [2]}}, b"\0" * 8),
    "no place": ({"a": entry(-8, 0)}, b"\0" * 8),
    "place": ({"a": 3}, b""),
    "numbers of type F8_E4M3": ({"a": entry(0, 2, (2,), "F8_E4M3")}, b"\0" * 2),
    "type None": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8),
    "no JSON object": ("[1]", b""),
    "Expecting": ("{nothing}", b""),
}


@pytest.mark.parametrize("reason", FORGED)
def test_forged_files_are_refused(reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        read_safetensors(write(tmp_path / "w", *FORGED[reason]))


@pytest.mark.parametrize("length", [2**63, 10**6, 100])
def test_a_header_longer_than_the_file(length, tmp_path):
    with pytest.raises(ValueError, match="its header has"):
        read_safetensors(write(tmp_path / "w", {"a": entry(0, 8)}, b"\0" * 8, length))
