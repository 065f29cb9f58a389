"""The entries of the datasets: their keys, and the readers that use them."""

import inspect
import re

import pytest
from ml_collections import ConfigDict

from wsol_jax import data
from wsol_jax.data import DATASETS
from wsol_jax.errors import InputError


@pytest.mark.parametrize("name", DATASETS)
def test_an_entry_has_a_reader_and_its_keys(name):
    reader, keys = DATASETS[name], data.defaults()
    assert list(inspect.signature(reader.load).parameters) == ["config", "seed"]
    assert keys.get(name, ConfigDict()).to_dict() == dict(reader.defaults)
    source = inspect.getsource(inspect.getmodule(reader.load)).partition("= Reader(")[0]
    unused = [key for key in reader.defaults if not re.search(rf'\.{key}\b|"{key}"', source)]
    assert not unused, f"data.{name} has keys that its reader does not use: {unused}"


def test_an_entry_that_is_added_is_loaded_with_its_keys(monkeypatch):
    scenes = DATASETS["scenes"]

    def load(config, seed):
        config.scenes.train = config.more.train
        return scenes.load(config, seed)

    monkeypatch.setitem(DATASETS, "more", scenes._replace(load=load, defaults={"train": 7}))
    config = data.defaults()
    config.update(name="more")
    data.check_keys(config)
    config.scenes.size = 16
    assert len(data.load_dataset(config, seed=0).splits["train"]) == 7


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", "cubs", "name is 'cubs'; expected one of cub, lists, folder"),
        ("on_error", "ignore", "on_error is 'ignore'; expected one of skip, stop"),
        ("val_per_class", -1, "val_per_class is -1; expected 0 or a positive number"),
    ],
)
def test_a_value_that_is_never_valid_is_named(key, value, message):
    config = data.defaults()
    config[key] = value
    with pytest.raises(InputError, match=message):
        data.check_keys(config)
