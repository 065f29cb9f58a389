"""The type of a stage: one step of a run, with its keys, inputs and outputs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from wsol_jax.stages.context import Context
from wsol_jax.stages.work import Work


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
        without_effect: the keys of its part that cannot change its results, and are not fingerprinted; GROUP.KEY is a
            key of a group.
        neutral: such a key -> the value at which it is not fingerprinted: results are those of a version without it.
        is_view: whether its outputs only show other results, so that they are replaced whenever they differ.
        extends: (its fingerprinted part as it was, as it is, context) -> '' if results of the first are on the way to
            those of the second, so that it continues from them; or why they are not; None if that was not wanted.
        work: (its part, context) -> its loops that take time, for an estimate; those that finish at once are not there.
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
    without_effect: tuple[str, ...] = ()
    neutral: Mapping[str, Any] = MappingProxyType({})
    is_view: bool = False
    extends: Callable[[Mapping[str, Any], Mapping[str, Any], Context], str | None] = lambda was, now, context: None
    work: Callable[[ConfigDict, Context], list[Work]] = lambda config, context: []
    together: bool = False
