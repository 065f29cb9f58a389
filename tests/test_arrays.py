"""Large arrays that stay in files."""

import io

import numpy as np
import pytest

from wsol_jax import arrays


@pytest.mark.parametrize("most", [0, 10**9])
def test_an_array_in_a_nameless_file_is_like_any_other(tmp_path, monkeypatch, most):
    monkeypatch.setattr(arrays, "IN_MEMORY", most)
    array = arrays.scratch(tmp_path / "new", (5, 3), np.float32)
    assert not array.any() and array.dtype == np.float32
    array[[4, 1]] = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(array.sum(axis=1), [0, 12, 0, 0, 3])
    assert not list(tmp_path.rglob("*.*")) and isinstance(array.base, np.memmap) == (most == 0)


def test_numbers_of_another_type_are_written_as_numpy_does(monkeypatch):
    monkeypatch.setattr(arrays, "AT_ONCE", 3)
    array, ours, theirs = np.random.default_rng(0).normal(size=(8, 2, 5)), io.BytesIO(), io.BytesIO()
    arrays.save_as(ours, array, np.float16)
    np.save(theirs, array.astype(np.float16))
    assert ours.getvalue() == theirs.getvalue()
