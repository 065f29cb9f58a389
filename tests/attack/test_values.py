"""Values that no machine can take, or that mean nothing: one line before anything is tried."""

import jax
import pytest
from ml_collections import ConfigDict

import launch
from configs.base import get_config
from wsol_jax.backbones import build, initialise
from wsol_jax.config import check_config
from wsol_jax.data import load_dataset
from wsol_jax.errors import InputError
from wsol_jax.stages.networks import make_method

NEEDS = r"would need [\d,]+ GiB of memory at the least, and this machine has [\d,]+; expected a smaller value$"
VALUES = {
    "localizer.size": (200_000, rf"localizer\.size is 200000: a batch of 256 photos of 200000 pixels {NEEDS}"),
    "pseudo.size": (100_000, rf"pseudo\.size is 100000: .*{NEEDS}"),
    "evaluate.map_size": (1_000_000, rf"evaluate\.map_size .*{NEEDS}"),
    "maps.size": (1_000_000, rf"maps\.size .*{NEEDS}"),
    "evaluate.resamples": (10**9, r"evaluate\.resamples is 1000000000(: the .*|; expected at most 1e\+07)"),
    "evaluate.threshold_step": (1e-9, r"threshold_step is 1e-09; expected a number from 0\.000001 to 1"),
    "localizer.epochs": (1e18, r"localizer\.epochs is 1e\+18; expected at most 1e\+06"),
    "localizer.decay_every": (1e-9, r"decay_every is 1e-09; expected 0, or no more than 10000 divisions"),
    "localizer.momentum": (5.0, r"momentum is 5\.0; expected a number from 0 up to, but not including, 1"),
    "localizer.decay_factor": (1e-30, r"decay_factor is 1e-30; expected 1 or more"),
    "classifier.batch_size": (10**8, rf"classifier\.batch_size is 100000000: .*{NEEDS}"),
    "localizer.batch_size": (10**400, rf"^--config\.localizer\.batch_size is 10{{199}}\.\.\.: .*{NEEDS}"),
    "boxes.source": ("x" * 10_000, r"^--config\.boxes\.source is 'x{199}\.\.\.; expected one of auto"),
    "predict.batch_size": (10**12, rf"predict\.batch_size is 1000000000000: .*{NEEDS}"),
    "seed": (2**64, r"seed is 18446744073709551616; expected at most 4\.29497e\+09"),
}


@pytest.mark.parametrize("key", VALUES)
def test_a_value_beyond_all_bounds(key):
    value, words = VALUES[key]
    config = get_config().unlock()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=words) as error:
        check_config(config, 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["size", "classes"])
def test_scenes_beyond_memory(key):
    config = get_config().data
    config.scenes[key] = 10**11 if key == "classes" else 100_000
    with pytest.raises(InputError, match=rf"^--config\.data\.scenes\.{key} is .*{NEEDS}"):
        load_dataset(config, 0)


@pytest.mark.parametrize("name", ["dtype", "head", "freeze", "arch"])
def test_arguments_that_have_keys_of_their_own(name):
    keys = get_config().classifier.unlock()
    keys.arch_kwargs = ConfigDict({name: "x"})
    with pytest.raises(InputError, match=f"^arch_kwargs has '{name}'; expected arguments of the backbone alone"):
        make_method("classifier", keys, 2)


def test_a_network_beyond_memory():
    with pytest.raises(InputError, match=r"^the network has [\d,]+ billion numbers, [\d,]+ GiB, and this machine has"):
        initialise(jax.random.key(0), build("resnet50", 2, width=1_000_000))


WRONG = {"text": "'many'", "None": "None", "list": "[1]", "array": "numpy.ones(2)", "set": "{1}", "bytes": "b'1'"}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("key", ["seed", "localizer.epochs", "stages", "data"])
def test_a_config_file_of_wrong_types(kind, key, tmp_path):
    group, _, name = key.rpartition(".")
    owner = f"config.{group}" if group else "config"
    (tmp_path / "mine.py").write_text(
        "import numpy\nfrom configs.base import get_config as base\n\ndef get_config():\n    config = base().unlock()\n"
        f"    with config.ignore_type():\n        {owner}.{name} = {WRONG[kind]}\n    return config\n"
    )
    config = launch.load(str(tmp_path / "mine.py"))
    if (key, kind) == ("stages", "text"):
        check_config(config, 1)
        return
    with pytest.raises(InputError, match=rf"^--config\.{key} is .*; expected (int|float|str|a group of keys)"):
        check_config(config, 1)


@pytest.mark.parametrize(
    "code", ["import sys; sys.exit(3)", "raise SystemExit", "exit(0)", "raise BaseException", "1/0"]
)
def test_a_config_file_that_exits(code, tmp_path):
    (tmp_path / "mine.py").write_text(f"def get_config():\n    {code}\n")
    with pytest.raises(InputError, match=r"^--config=\S+mine\.py: (SystemExit|BaseException|ZeroDivisionError)"):
        launch.load(str(tmp_path / "mine.py"))
