"""Damaged files of a workdir and extreme values of keys: builders of inputs, as those of weight_inputs.py."""

import json

import numpy as np
from flax.traverse_util import flatten_dict

from wsol_jax.arrays import read_array, read_arrays
from wsol_jax.config import check_config, default_config
from wsol_jax.stages import identity, lock
from wsol_jax.stages.workdir import identity_file, lock_file


def damaged_array(rng, number, folder):
    file, kinds = folder / "heat.npy", (np.zeros((3, 4)), np.zeros((3, 4, 4), int), np.array([{}]), np.array("x"))
    if number % 6 == 4:
        np.save(file, np.zeros((3, 4, 4)))
        file.write_bytes(file.read_bytes()[: -rng.integers(1, 300)])
    elif number % 6 == 5:
        file.write_bytes(rng.bytes(rng.integers(300)))
    else:
        np.save(file, kinds[number % 6], allow_pickle=True)
    return lambda: read_array(file, (3, None, None), mapped=bool(number % 2))


def damaged_archive(rng, number, folder):
    file = folder / "class.npz"
    np.savez(file, **({"other": np.zeros(3)} if number % 3 == 0 else {"mean": np.array([{}])}))
    if number % 3 == 2:
        file.write_bytes(file.read_bytes()[: rng.integers(100)])
    return lambda: read_arrays(file, ["mean"])


def damaged_identity(rng, number, folder):
    identity_file(folder, "train").parent.mkdir()
    content = (b"[]", b"{}", b"nothing", b"\xff\xfe", b'"text"', b"3", b"null", b'{"config": {}}')[number % 8]
    identity_file(folder, "train").write_bytes(content)
    return lambda: identity.read(folder, "train")


def damaged_lock(rng, number, folder):
    contents = (
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        json.dumps({"host": "a", "process": [], "started": 1, "since": 2}).encode(),
    )
    lock_file(folder).write_bytes(contents[number % 5])

    def take() -> None:
        with lock.locked(folder):
            pass

    return take


EXTREMES = {
    int: (-(10**30), -1, 0, 1, 2**31, 2**63, 2**64, 10**12, 10**400),
    float: (-1e308, -1.0, -0.0, 5e-324, 1e-30, 1.0, 1e18, 1e308, np.nan, np.inf, -np.inf),
    str: ("", " ", "nope", ",", "\0", "\n", "\ud800", "../..", "=", "+", "x" * 10_000, "[1", "nan"),
    tuple: ((), (np.nan,), (1e308, -1e308), ("a",), ((1,),), (None,), (10**400,)),
}


def extreme_value(rng, number, folder):
    """A value of the right type for a key drawn at random."""
    config = default_config().unlock()
    keys = [(key, value) for key, value in flatten_dict(config.to_dict(), sep=".").items() if type(value) in EXTREMES]
    key, before = keys[rng.integers(len(keys))]
    values = EXTREMES[type(before)]
    config.update_from_flattened_dict({key: values[number % len(values)]})
    return lambda: check_config(config, 1)
