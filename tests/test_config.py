"""Every key with few right values says what they are."""

import experiments
import pytest

from wsol_jax.config import (
    BATCH_SIZES,
    CHOICES,
    FRACTIONS,
    NETWORKS,
    NOT_NEGATIVE,
    OTHERS,
    POSITIVE,
    check_values,
    value_of,
)
from wsol_jax.errors import InputError


def flat(config, prefix=""):
    for key, value in config.items():
        yield from flat(value, f"{prefix}{key}.") if hasattr(value, "items") else [(f"{prefix}{key}", value)]


def message(key, value, devices=1):
    config = experiments.load(**{key: value})
    with pytest.raises(InputError) as error:
        check_values(config, devices)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("key", "allowed"), CHOICES.items(), ids=CHOICES)
def test_a_choice(key, allowed):
    assert message(key, "nonsense") == f"--config.{key} is 'nonsense'; expected one of {', '.join(allowed)}"
    for value in allowed:
        check_values(experiments.load(**{key: value}), devices=1)


def test_the_source_of_pseudo_boxes():
    assert message("pseudo.source", "dtt").startswith(
        "--config.pseudo.source is 'dtt'; expected ddt, cam, truth or a file"
    )
    for value in ("ddt", "cam", "truth", "boxes.parquet"):
        check_values(experiments.load(**{"pseudo.source": value}), devices=1)


@pytest.mark.parametrize("key", POSITIVE)
def test_a_positive_number(key):
    assert (
        message(key, 0)
        == f"--config.{key} is {value_of(experiments.load(**{key: 0}), key)!r}; expected a positive number"
    )
    assert message(key, -1).endswith("expected a positive number")


@pytest.mark.parametrize("key", NOT_NEGATIVE)
def test_zero_or_a_positive_number(key):
    check_values(experiments.load(**{key: 0}), devices=1)
    assert message(key, -1).endswith("expected 0 or a positive number")


@pytest.mark.parametrize("key", FRACTIONS)
def test_a_number_from_zero_to_one(key):
    assert message(key, -0.5).endswith("expected a number from 0 to 1")
    assert message(key, 1.5).endswith("expected a number from 0 to 1")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_is_finite(value):
    assert "learning_rate" in message("localizer.learning_rate", value)
    assert "weight_decay" in message("classifier.weight_decay", value)


@pytest.mark.parametrize("key", BATCH_SIZES)
def test_devices_share_a_batch_evenly(key):
    assert message(key, 12, devices=8) == f"--config.{key} is 12; expected a multiple of the 8 devices"
    check_values(experiments.load(**{key: 12}), devices=4)


def test_every_key_is_looked_at():
    keys = {key for key, _ in flat(experiments.load())} | {f"{network}.arch_kwargs" for network in NETWORKS}
    by_the_readers = {key for key in keys if key.startswith("data.") and key.count(".") == 2}
    of_the_backbones = {key for key in keys if ".arch_kwargs." in key}
    assert keys - by_the_readers - of_the_backbones == {*CHOICES, *POSITIVE, *NOT_NEGATIVE, *FRACTIONS, *OTHERS}


def test_a_missing_key_is_named():
    config = experiments.load().unlock()
    del config.localizer["size"]
    with pytest.raises(InputError, match=r"lacks the key localizer\.size; configs/base\.py has every one"):
        check_values(config, devices=1)
