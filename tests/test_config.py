"""The configuration: every key has a default, a type and a range, and its owner checks it."""

import math

import experiments
import pytest
from ml_collections import ConfigDict

from wsol_jax.config import check_config, default_config
from wsol_jax.errors import InputError
from wsol_jax.stages.table import STAGES

BATCH_SIZES = [f"{part}.batch_size" for part in ("pseudo", "localizer", "classifier", "joint", "train", "predict")]


def leaves(config, prefix=""):
    for key, value in config.items():
        yield from leaves(value, f"{prefix}{key}.") if isinstance(value, ConfigDict) else [(f"{prefix}{key}", value)]


KEYS = {key: value for key, value in leaves(default_config()) if ".arch_kwargs." not in key}
NUMBERS = [key for key, value in KEYS.items() if type(value) in (int, float)]
OF_READERS = ("data.scenes.", "data.folder.", "data.lists.", "data.tfds.")  # checked when the dataset is read
CHOICES = [
    *("data.name", "data.on_error", "pseudo.source", "pseudo.sign", "train.method", "localizer.arch", "joint.dtype"),
    *("localizer.loss", "localizer.head", "predict.test_geometry", "report.published", "classifier.augment"),
    *("train.dawsol.universum", "boxes.source", "joint.optimiser"),
]


def message(key, value, devices=1):
    config = experiments.load(**{key: value})
    with pytest.raises(InputError) as error:
        check_config(config, devices)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_base_is_valid():
    check_config(default_config(), devices=8)


@pytest.mark.parametrize("key", CHOICES)
def test_a_choice_names_what_is_allowed(key):
    assert message(key, "nonsense").startswith(f"--config.{key} is 'nonsense'; expected ")


def test_the_choices_are_the_ones_there_are():
    assert message("train.method", "x").endswith("one of cam, grad_cam, has, acol, spg, adl, cutmix")
    for value in ("ddt", "cam", "truth", "boxes.parquet"):
        check_config(experiments.load(**{"pseudo.source": value}), devices=1)


@pytest.mark.parametrize("key", [key for key in NUMBERS if not key.startswith(OF_READERS)])
def test_every_number_has_a_range(key):
    assert message(key, -2).startswith(f"--config.{key} is {type(KEYS[key])(-2)!r}; expected ")


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("key", [key for key in NUMBERS if type(KEYS[key]) is float and not key.startswith(OF_READERS)])
def test_a_number_is_finite(key, value):
    assert message(key, value).startswith(f"--config.{key} is {value!r}; expected ")


@pytest.mark.parametrize("key", BATCH_SIZES)
def test_devices_share_a_batch_evenly(key):
    assert message(key, 12, devices=8) == f"--config.{key} is 12; expected a multiple of the 8 devices"
    check_config(experiments.load(**{key: 12}), devices=4)


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(key):
    config = experiments.load().unlock()
    path, _, name = key.rpartition(".")
    part = config
    for step in path.split(".") if path else []:
        part = part[step]
    del part[name]
    with pytest.raises(InputError, match=rf"lacks the key {key}; configs/base\.py has every one"):
        check_config(config, devices=1)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [None, {1}, ConfigDict({"a": 1})])
def test_a_value_of_another_type_is_named(key, value):
    config = experiments.load().unlock()
    with config.ignore_type():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=rf"--config\.{key} is .*; expected (str|int|float|bool|tuple), such as"):
        check_config(config, devices=1)


def test_an_unknown_key_is_named():
    config = experiments.load().unlock()
    config.localizer.epoch = 3.0
    with pytest.raises(InputError, match=r"--config\.localizer\.epoch: there is no key 'epoch'; expected epochs"):
        check_config(config, devices=1)


def test_stages_own_their_keys():
    config = default_config()
    assert {stage.key for stage in STAGES.values()} | {
        "seed",
        "stages",
        "overwrite",
        "compilation_cache",
        "data",
        "ablation",
    } == set(config)
