"""The keys of DA-WSOL: valid defaults, and one line for a value that is never valid."""

import pytest
from ml_collections import ConfigDict

from configs.base import get_config
from wsol_jax.errors import InputError
from wsol_jax.methods.dawsol.keys import DEFAULTS, check_keys

INVALID = {
    "domain_loss": ("mmd", "one of mmd_linear, mmd_quadratic, dann"),
    "universum": ("max", "one of mean, sum"),
    "anchor_order": ("random", "one of batch, sequential"),
    "anchor_update": ("universum", "one of fake, real"),
    "samples": (0, "a positive number"),
    "gamma": (0.0, "a positive number"),
    "domain_weight": (-0.1, "0 or a positive number"),
    "universum_weight": (float("nan"), "0 or a positive number"),
    "anchor_offset": (-1.0, "0 or a positive number"),
    "domain_rate": (float("inf"), "0 or a positive number"),
    "start_epoch": (-2, "a number from -1, the first step, on"),
}


def test_defaults_are_valid_and_in_the_configuration():
    check_keys(ConfigDict(DEFAULTS))
    assert get_config().train.dawsol.to_dict() == DEFAULTS


@pytest.mark.parametrize("key", INVALID)
def test_an_invalid_value_is_named_with_the_valid_ones(key):
    value, expected = INVALID[key]
    with pytest.raises(InputError) as error:
        check_keys(ConfigDict(DEFAULTS | {key: value}))
    assert str(error.value) == f"{key} is {value!r}; expected {expected}"


def test_every_key_but_the_switches_is_checked():
    assert set(DEFAULTS) - set(INVALID) == {"use", "assigner"}
