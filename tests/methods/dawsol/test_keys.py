"""The keys of DA-WSOL: valid defaults, and one line for a value that is never valid."""

import pytest
from ml_collections import ConfigDict

from configs.base import get_config
from wsol_jax.errors import InputError
from wsol_jax.methods.dawsol.keys import DEFAULTS, check_keys, same_terms

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


def trainings(first: float, second: float, **changes) -> list[ConfigDict]:
    """The keys of two trainings with DA-WSOL that differ in their epochs."""
    configs = []
    for epochs in (first, second):
        config = get_config().train
        config.epochs = epochs
        config.dawsol.update({"use": True} | changes)
        configs.append(config)
    return configs


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        (dict(use=False, domain_loss="dann"), True),
        (dict(start_epoch=-1), True),
        (dict(start_epoch=0), True),
        (dict(start_epoch=-1, domain_loss="dann"), False),
    ],
)
def test_the_loss_of_more_epochs(changes, same):
    assert same_terms(*trainings(2.0, 8.0, **changes), 4.0, 8) is same


def test_the_start_of_the_loss_is_rounded_with_the_number_of_epochs():
    """Step 3 of the 5 of 1.5 epochs is at 0.9 of an epoch, step 3 of the 29 of 10 epochs at 1.03."""
    assert not same_terms(*trainings(1.5, 10.0, start_epoch=0), 2.9, 5)
