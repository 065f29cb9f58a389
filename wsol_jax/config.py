"""The whole configuration: every owner's keys with their defaults, assembled, and the checks of their values."""

import difflib
from collections.abc import Collection

from ml_collections import ConfigDict

from wsol_jax import checks, data
from wsol_jax.errors import InputError
from wsol_jax.paths import to_path
from wsol_jax.stages.table import STAGES

OPEN_GROUPS = ("arch_kwargs", "views")
"""Groups whose keys are not fixed: the arguments of a backbone, the views of DDT."""


def default_config() -> ConfigDict:
    """Return every key with its default: PSOL on generated scenes.

    A key that is not here does not exist. The defaults are the papers' values; where the published code differs, its
    value stands in the comment. `data`, each stage and each method own their keys, in the files that use them.
    """
    config = ConfigDict()
    config.seed = 0  # of everything: splits, orders, crops, initial weights, bootstrap
    # some of STAGES, in this order; -Joint has 'joint' in place of 'localizer,classifier'; or 'ablation'
    config.stages = "pseudo_boxes,localizer,classifier,predict,evaluate,report"
    config.overwrite = False  # redo finished stages whose configuration has changed
    # a folder for compiled programs, also gs://; 'auto': in the user's cache folder, or where JAX keeps them; '': none
    config.compilation_cache = "auto"
    config.data = data.defaults()
    for stage in STAGES.values():
        config[stage.key] = stage.defaults()
    config.ablation = ConfigDict(  # stages='ablation': runs with and without the parts of DA-WSOL, in one table
        dict(
            losses="mmd,dann",  # the domain losses that have rows; '': none
            turns=5,  # of timing, a training step and a batch of predictions of every row in each
        )
    )
    return config.lock()


def check_config(config: ConfigDict, devices: int) -> None:
    """Check that every key is there, with a value of its default's type and in its range.

    Values that depend on photos, files or a network's stages are checked by the stages before they run; those of one
    dataset by its reader.

    Args:
        config: a whole configuration.
        devices: how many share a batch.

    Raises:
        InputError: a key is missing, unknown or of another type, or its value is not valid.
    """
    _check_types(default_config(), config, "")
    with checks.prefixed("--config."):
        checks.not_negative(config, "seed")
        checks.at_most(config, "seed", 2**32 - 1)
    with checks.prefixed("--config.compilation_cache: "):
        to_path(config.compilation_cache)
    with checks.prefixed("--config.data."):
        data.check_keys(config.data)
    for stage in STAGES.values():
        with checks.prefixed(f"--config.{stage.key}."):
            stage.check_keys(config[stage.key], devices)
    with checks.prefixed("--config.ablation."):
        checks.positive(config.ablation, "turns")


def unknown_key(name: str, known: Collection[str]) -> str:
    """Return the words of an error about a key that does not exist, with the most similar one that does."""
    similar = difflib.get_close_matches(name, known, 1)
    return f"there is no key {name!r}; expected {', '.join(similar or known) or 'none'}"


def _check_types(default: ConfigDict, config: ConfigDict, path: str) -> None:
    """Raise if a group of keys has not exactly the default's keys, or a value not the default's type."""
    missing = [name for name in default if name not in config]
    if missing:
        raise InputError(f"the configuration lacks the key {path}{missing[0]}; configs/base.py has every one")
    for name, value in config.items():
        if name not in default:
            raise InputError(f"--config.{path}{name}: {unknown_key(name, list(default))}")
        expected = default[name]
        if isinstance(expected, ConfigDict) and isinstance(value, ConfigDict):
            if name not in OPEN_GROUPS:
                _check_types(expected, value, f"{path}{name}.")
        elif type(value) is not type(expected) and not (type(expected) is float and type(value) is int):
            given = "a group of keys" if isinstance(value, ConfigDict) else checks.shown(value)
            kind = "a group of keys" if isinstance(expected, ConfigDict) else type(expected).__name__
            example = ", ".join(expected) if isinstance(expected, ConfigDict) else repr(expected)
            raise InputError(f"--config.{path}{name} is {given}; expected {kind}, such as {example}")
