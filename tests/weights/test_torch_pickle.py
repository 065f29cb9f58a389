import argparse
import datetime
import decimal
import fractions
import os
import pickle
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
from torch_file import Tensor, write_stream, write_zip

from wsol_jax.errors import InputError
from wsol_jax.weights import torch_pickle
from wsol_jax.weights.weight_files import read_weights

ARRAY = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
WRITERS = [write_zip, write_stream]


@pytest.mark.parametrize("write", WRITERS)
def test_both_formats_give_the_tensors_back(write, tmp_path):
    tree = OrderedDict(a=Tensor(ARRAY), b=Tensor(np.array(7)), c=Tensor(ARRAY.astype("f2")), d=Tensor(ARRAY[:0]))
    tree["transposed"] = Tensor(ARRAY, shape=(4, 3), strides=(1, 4))
    tree["part"] = Tensor(ARRAY, offset=5, shape=(2, 2), strides=(4, 1))
    write(tmp_path / "w.pth", tree)
    state, others = torch_pickle.read_state_dict(tmp_path / "w.pth")
    expected = dict(a=ARRAY, b=np.array(7), c=ARRAY.astype("f2"), d=ARRAY[:0], transposed=ARRAY.T, part=ARRAY[1:, 1:3])
    assert list(state) == list(expected) and not others
    for name, array in expected.items():
        np.testing.assert_array_equal(state[name], array, strict=True)


class OrderedDictOfPython2:
    def __reduce__(self):
        return OrderedDict, ([["a", Tensor(ARRAY)], ("b", Tensor(ARRAY))],)


@pytest.mark.parametrize("write", WRITERS)
def test_an_ordered_dict_of_python_2_has_its_items_in_the_call(write, tmp_path):
    write(tmp_path / "w.pth", {"state_dict": OrderedDictOfPython2()})
    state, _ = torch_pickle.read_state_dict(tmp_path / "w.pth")
    assert list(state) == ["a", "b"]
    np.testing.assert_array_equal(state["b"], ARRAY, strict=True)


def test_tensors_on_one_storage_share_its_numbers(tmp_path):
    storage = Tensor(ARRAY)
    write_stream(tmp_path / "w.pth", {"a": storage, "b": storage})
    state, _ = torch_pickle.read_state_dict(tmp_path / "w.pth")
    assert np.shares_memory(state["a"], state["b"])


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_a_training_checkpoint_gives_its_network_and_names_its_other_entries(wrapper, write, tmp_path):
    optimizer = {"state": {0: {"momentum_buffer": Tensor(ARRAY)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    tree = {"epoch": 3, wrapper: {"module.a": Tensor(ARRAY)}, "optimizer": optimizer}
    write(tmp_path / "w.pth", tree | {"args": argparse.Namespace(lr=0.1, resume=None)})
    state, origin = read_weights(str(tmp_path / "w.pth"))
    assert origin == f"{tmp_path / 'w.pth'}, without its epoch, optimizer, args, without the prefix 'module.'"
    np.testing.assert_array_equal(state["a"], ARRAY, strict=True)


def test_a_network_may_have_an_entry_called_model(tmp_path):
    write_zip(tmp_path / "w.pth", {"model": Tensor(ARRAY), "b": Tensor(ARRAY)})
    assert set(read_weights(str(tmp_path / "w.pth"))[0]) == {"model", "b"}


def test_arguments_of_a_script_leave_nothing_behind(tmp_path):
    write_zip(tmp_path / "w.pth", argparse.Namespace(state_dict={"a": Tensor(ARRAY)}))
    with pytest.raises(InputError, match=r"it holds a argparse\.Namespace; expected a dict of tensors"):
        read_weights(str(tmp_path / "w.pth"))


class Command:
    def __reduce__(self):
        return os.system, ("exit 1",)


FORGED = {
    "'a' is a posix.system": {"a": Command()},
    "'a' is a __builtin__.complex": {"a": 1 + 2j},
    "'a' is a numpy._core.multiarray.scalar": {"a": np.float64(1)},
    "'a' is a int": {"a": 3},
    "'a' is a dict": {"a": {}},
    "it holds a list": [Tensor(ARRAY)],
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("reason", FORGED)
def test_anything_but_tensors_is_refused_by_name(write, reason, tmp_path):
    write(tmp_path / "w.pth", FORGED[reason])
    with pytest.raises(InputError) as error:
        read_weights(str(tmp_path / "w.pth"))
    assert reason in str(error.value) and "w.pth" in str(error.value) and "\n" not in str(error.value)


OUTSIDE = {
    "past the end": dict(shape=(3, 5)),
    "offset past the end": dict(offset=1),
    "negative offset": dict(offset=-1),
    "negative stride": dict(strides=(-4, 1)),
    "grown by stride 0": dict(shape=(1000, 1000), strides=(0, 0)),
    "fewer strides": dict(strides=(4,)),
    "sizes that are no integers": dict(shape=(3.0, 4.0)),
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("case", OUTSIDE)
def test_a_tensor_must_lie_inside_its_storage(write, case, tmp_path):
    write(tmp_path / "w.pth", {"a": Tensor(ARRAY, **OUTSIDE[case])})
    with pytest.raises(InputError, match="tensor 'a' does not lie inside its storage"):
        read_weights(str(tmp_path / "w.pth"))


@pytest.mark.parametrize("write", WRITERS)
def test_no_cut_of_a_file_is_read(write, tmp_path):
    write(tmp_path / "whole.pth", {"a": Tensor(ARRAY), "b": Tensor(ARRAY)})
    data = (tmp_path / "whole.pth").read_bytes()
    for end in range(0, len(data), 7):
        (tmp_path / "cut.pth").write_bytes(data[:end])
        with pytest.raises(InputError, match=r"cut\.pth"):
            read_weights(str(tmp_path / "cut.pth"))


def test_compressed_and_incomplete_zips_are_refused(tmp_path):
    write_zip(tmp_path / "bomb.pth", {"a": Tensor(np.zeros(1000, np.float32))}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed"):
        read_weights(str(tmp_path / "bomb.pth"))
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("readme.txt", "no weights here")
    with pytest.raises(InputError, match=r"other\.pth: not a readable file"):
        read_weights(str(tmp_path / "other.pth"))


def test_pickled_trees_of_arrays_come_back(tmp_path):
    tree = {"a": {"kernel": ARRAY, "fortran": np.asfortranarray(ARRAY)}, "b": {"big": ARRAY.astype(">f4")}}
    (tmp_path / "tree.ckpt").write_bytes(pickle.dumps(tree))
    back = torch_pickle.read_tree(tmp_path / "tree.ckpt")
    for array in (back["a"]["kernel"], back["a"]["fortran"], back["b"]["big"]):
        np.testing.assert_array_equal(array, ARRAY)
        assert array.dtype == np.float32


def endless():
    tree = {}
    tree["again"] = tree
    return tree


def wide():
    tree = {}
    for _ in range(7):
        tree = dict.fromkeys(map(str, range(100)), tree)
    return tree


@pytest.mark.parametrize(
    "tree, reason",
    [
        (Command(), "is a posix.system"),
        ({"a": np.array([None])}, "dtype 'O8'; only plain numbers"),
        ({"a": np.array([(1, 2)], "i4,i4")}, "dtype 'V8'; only plain numbers"),
        ({"a": {"b": "text"}}, "entry 'a.b' is a str"),
        (endless(), "nested without end"),
        (wide(), "nested without end"),
    ],
)
def test_trees_of_anything_else_are_refused(tree, reason, tmp_path):
    (tmp_path / "tree.ckpt").write_bytes(pickle.dumps(tree))
    with pytest.raises((pickle.UnpicklingError, ValueError), match=reason):
        torch_pickle.read_tree(tmp_path / "tree.ckpt")


def test_an_array_must_fill_its_shape(tmp_path):
    data = pickle.dumps({"a": np.zeros(12, np.uint8)})
    assert data.count(b"K\x0c\x85") == 1  # the shape (12,)
    (tmp_path / "tree.ckpt").write_bytes(data.replace(b"K\x0c\x85", b"K\x0d\x85"))
    with pytest.raises(ValueError, match="its bytes do not fill"):
        torch_pickle.read_tree(tmp_path / "tree.ckpt")


class Config:
    """A class that another program does not have."""

    def __init__(self):
        self.lr, self.again = 0.1, self


BESIDE = {
    "numpy scalar": np.float64(76.1),
    "counter": Counter("abc"),
    "defaultdict": defaultdict(list, a=[1]),
    "path": Path("a/b"),
    "set": {1, 2},
    "frozenset": frozenset({(1, 2)}),
    "date": datetime.datetime(2026, 1, 1),
    "arguments": argparse.Namespace(lr=0.1, tags=("a",)),
    "own class": Config(),
    "function": os.path.join,
    "class": OrderedDict,
    "complex": 1 + 2j,
    "fraction": fractions.Fraction(1, 3),
    "decimal": decimal.Decimal("1.5"),
    "objects": np.array([{}, None]),
    "tuple key": {(1, 2): 3, 2**70: 4, b"b": 5, 1.5: 6, None: 7},
    "optimiser": {"state": {0: {"step": 3, "exp_avg": Tensor(ARRAY)}}, "param_groups": [{"betas": (0.9, 0.999)}]},
    "bytes": bytearray(b"abc"),
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", BESIDE)
def test_any_object_beside_a_network_is_left_out_and_named(name, write, tmp_path):
    network = OrderedDict(a=Tensor(ARRAY))
    network._metadata = OrderedDict({"": {"version": 1}})  # as torch's has
    write(tmp_path / "w.pth.tar", {"best": BESIDE[name], "state_dict": network})
    state, origin = read_weights(str(tmp_path / "w.pth.tar"))
    assert list(state) == ["a"] and origin.endswith(", without its best")
    write(tmp_path / "w.bin", {"a": Tensor(ARRAY), "extra": BESIDE[name]})
    state, origin = read_weights(str(tmp_path / "w.bin"))
    assert list(state) == ["a"] and origin.endswith(", without its extra")


@pytest.mark.parametrize("wrapper", torch_pickle.WRAPPERS)
def test_every_wrapper(wrapper, tmp_path):
    write_zip(tmp_path / "w", {"epoch": 1, wrapper: {"a": Tensor(ARRAY)}, "optimizer": {"state": {0: Tensor(ARRAY)}}})
    state, origin = read_weights(str(tmp_path / "w"))
    assert set(state) == {"a"} and origin.endswith("w, without its epoch, optimizer")


def test_wrappers_in_wrappers_and_the_first_of_several(tmp_path):
    inner = {"state_dict": {"a": Tensor(ARRAY)}, "rng": 3}
    write_zip(tmp_path / "w", {"net": inner, "params": {"lr": 0.1}})
    assert set(read_weights(str(tmp_path / "w"))[0]) == {"a"}
    write_zip(tmp_path / "w", {"model_ema": {"b": Tensor(ARRAY)}, "model": {"a": Tensor(ARRAY)}})
    state, origin = read_weights(str(tmp_path / "w"))
    assert set(state) == {"a"} and origin.endswith("without its model_ema")


def test_a_wrapper_of_any_name_if_it_is_the_only_one(tmp_path):
    write_zip(tmp_path / "w", {"encoder": {"a": Tensor(ARRAY)}, "epoch": 3})
    assert set(read_weights(str(tmp_path / "w"))[0]) == {"a"}
    network = {name: Tensor(ARRAY) for name in "ab"}
    write_zip(tmp_path / "w", {"random": Tensor(ARRAY), "encoder": network})
    state, origin = read_weights(str(tmp_path / "w"))
    assert set(state) == {"a", "b"} and origin.endswith("without its random")
    write_zip(tmp_path / "w", {"encoder": {"a": Tensor(ARRAY)}, "decoder": {"a": Tensor(ARRAY)}})
    with pytest.raises(InputError, match="it holds 2 dicts of tensors, encoder, decoder; expected one network"):
        read_weights(str(tmp_path / "w"))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickled_dict_of_arrays_of_every_protocol(protocol, tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": {"a": ARRAY}, "__author__": "me"}, protocol))
    state, origin = read_weights(str(tmp_path / "w.pkl"))
    np.testing.assert_array_equal(state["a"], ARRAY, strict=True)
    assert origin.endswith("without its __author__")


def test_only_the_networks_own_numbers_are_read(tmp_path):
    write_zip(tmp_path / "w", {"state_dict": {"a": Tensor(ARRAY)}, "optimizer": {"b": Tensor(ARRAY)}})
    with zipfile.ZipFile(tmp_path / "w") as whole, zipfile.ZipFile(tmp_path / "part", "w") as part:
        for name in whole.namelist():
            if name != "archive/data/1":
                part.writestr(name, whole.read(name))
    assert set(read_weights(str(tmp_path / "part"))[0]) == {"a"}
