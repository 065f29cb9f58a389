"""The entry of a score-map method: how it is built, and the keys that it owns."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from wsol_jax.methods.method import Method


class Entry(NamedTuple):
    """A score-map method as the configuration knows it.

    Attributes:
        title: its name on pages.
        make: (the keys of `train`, number of classes) -> the method.
        defaults: its own keys, `train.NAME.KEY`, with their defaults; {} where it has none.
        check_keys: (its own keys) -> None; raises InputError for a value that is never valid.
    """

    title: str
    make: Callable[[ConfigDict, int], Method]
    defaults: Mapping[str, Any] = MappingProxyType({})
    check_keys: Callable[[ConfigDict], None] = lambda keys: None
