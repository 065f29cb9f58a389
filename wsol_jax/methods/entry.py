"""The entry of a score-map method in `METHODS`: its constructor, and its own keys."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from wsol_jax.methods.method import Method


class Entry(NamedTuple):
    """A score-map method for the configuration.

    Attributes:
        title: its name in reports.
        make: (the keys of `train`, number of classes) -> the method.
        defaults: its own keys, `train.NAME.KEY`, with their defaults; {} where it has none.
        check_keys: (its own keys) -> None; raises InputError for a value that is never valid.
    """

    title: str
    make: Callable[[ConfigDict, int], Method]
    defaults: Mapping[str, Any] = MappingProxyType({})
    check_keys: Callable[[ConfigDict], None] = lambda keys: None
