"""The entry of a dataset: the function that reads its files, and the keys that it owns."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from wsol_jax.data.records import Dataset


class Reader(NamedTuple):
    """A dataset as the configuration knows it.

    Attributes:
        load: (the keys of `data`, seed) -> the dataset; raises InputError for wrong files and values.
        defaults: its own keys, `data.NAME.KEY`, with their defaults; {} where it has none.
    """

    load: Callable[[ConfigDict, int], Dataset]
    defaults: Mapping[str, Any] = MappingProxyType({})
