"""The type of a stage: one step of a run, with its keys, inputs and outputs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ml_collections import ConfigDict

from wsol_jax.stages.context import Context


class Stage(NamedTuple):
    """One step of a run. It receives its own part of the configuration and the results of its inputs, nothing else.

    Attributes:
        key: the name of its part of the configuration; stages may share one.
        defaults: () -> that part, every key with its default.
        check_keys: (its part, devices that share a batch) -> None; raises InputError for a value that is never valid.
        outputs: the files and folders that it writes, relative to the workdir.
        run: carries the stage out.
        check: raises InputError wherever `run` would, as far as that is known before earlier stages have run.
        inputs: the stages whose results it uses; at least one of them is needed if any is named.
        instead: input -> the keys of its part that may name something to use in place of that input.
        files: its part -> name -> file outside of the workdir that it reads; their content is fingerprinted.
        together: whether all processes carry it out, for it computes on their devices; the others wait for the first
            process otherwise.
    """

    key: str
    defaults: Callable[[], ConfigDict]
    check_keys: Callable[[ConfigDict, int], None]
    outputs: tuple[str, ...]
    run: Callable[[ConfigDict, Context], None]
    check: Callable[[ConfigDict, Context], None] = lambda config, context: None
    inputs: tuple[str, ...] = ()
    instead: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    files: Callable[[ConfigDict], Mapping[str, Path]] = lambda config: {}
    together: bool = False
