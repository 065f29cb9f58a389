"""The entries of the score-map methods: their own keys, and their titles."""

import pytest
import tiny
from ml_collections import ConfigDict

from wsol_jax.errors import InputError
from wsol_jax.methods import METHODS
from wsol_jax.methods.method import Method


@pytest.mark.parametrize("name", METHODS)
def test_defaults_are_valid_and_in_the_configuration(name):
    entry = METHODS[name]
    entry.check_keys(ConfigDict(dict(entry.defaults)))
    keys = tiny.config("train", method=name)
    assert dict(keys[name] if entry.defaults else {}) == dict(entry.defaults)
    assert isinstance(entry.make(keys, tiny.CLASSES), Method)


@pytest.mark.parametrize("name", [name for name, entry in METHODS.items() if set(entry.defaults) - {"stage"}])
def test_each_key_is_checked(name):
    for key in METHODS[name].defaults:
        with pytest.raises(InputError, match=f"^{key} is -1; expected "):
            METHODS[name].check_keys(ConfigDict(METHODS[name].defaults | {key: -1}))


def test_titles_are_unique():
    assert len({entry.title for entry in METHODS.values()}) == len(METHODS)
