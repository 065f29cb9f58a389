"""Checkpoints of the whole training state, written in the background, each one complete or absent."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh

from wsol_jax import devices
from wsol_jax.errors import InputError
from wsol_jax.methods.method import Variables
from wsol_jax.paths import RemotePath, to_path
from wsol_jax.training.step import TrainState

_PARTS = {
    "parameters": "params",
    "batch statistics": "batch_stats",
    "numbers of the method's memory": "memory",
    "numbers of the optimiser": "opt_state",
}
"""The parts of a state that must be finite, as errors name them."""


def open_checkpoints(folder: Path, keep: int = 2) -> ocp.CheckpointManager:
    """Return the manager of a folder's checkpoints, of which it keeps the last ones; it removes incomplete ones.

    Args:
        folder: created if it does not exist.
        keep: how many.
    """
    options = ocp.CheckpointManagerOptions(
        preservation_policy=ocp.checkpoint_managers.LatestN(keep), cleanup_tmp_directories=True
    )
    return ocp.CheckpointManager(_in_orbax(folder), options=options)


def _in_orbax(folder: Path) -> epath.Path:
    return epath.Path(str(folder.resolve()))


def last_step(folder: Path) -> int:
    """Return the step of the last complete checkpoint in a folder, which is left as it is; 0 if there is none."""
    return max(_complete_steps(folder), default=0)


def _complete_steps(folder: Path) -> list[int]:
    """The steps of all checkpoints; a complete one has its whole name, or in a store, Orbax's file of success."""
    named = [path for path in folder.glob("*") if path.name.isdecimal()]
    return [
        int(path.name)
        for path in named
        if not isinstance(path, RemotePath) or ocp.path.step.is_path_finalized(_in_orbax(path))
    ]


def save(checkpoints: ocp.CheckpointManager, state: TrainState) -> None:
    """Start to write a state under its step, and return once its values are copied.

    Args:
        checkpoints: of `open_checkpoints`.
        state: may be donated to the next step afterwards.

    Raises:
        InputError: a number of the state is not finite, or this checkpoint or the one before cannot be written; earlier
            ones are untouched.
    """
    step, is_finite = jax.device_get((state.step, _is_finite(state)))
    if not all(is_finite.values()):
        what = next(what for what, field in _PARTS.items() if not is_finite[field])
        name = checkpoints.directory.parent.name
        raise InputError(f"{name}: {what} are not finite after step {step}; lower learning_rate")
    with _named(f"a checkpoint cannot be written to {checkpoints.directory}", "the one before it is kept"):
        checkpoints.save(int(step), args=ocp.args.StandardSave(state))


@jax.jit
def _is_finite(state: TrainState) -> dict[str, jax.Array]:
    """Of each part of a state, whether all of its numbers are finite."""
    leaves = {field: jax.tree.leaves(getattr(state, field)) for field in _PARTS.values()}
    return {
        field: jnp.array([jnp.isfinite(leaf).all() for leaf in of_part], bool).all()
        for field, of_part in leaves.items()
    }


def finish(checkpoints: ocp.CheckpointManager) -> None:
    """Wait until the last checkpoint is written, and close the manager.

    Args:
        checkpoints: of `open_checkpoints`.

    Raises:
        InputError: it cannot be written; earlier ones are untouched.
    """
    with _named(f"a checkpoint cannot be written to {checkpoints.directory}", "the one before it is kept"):
        checkpoints.wait_until_finished()
        checkpoints.close()


def restore(checkpoints: ocp.CheckpointManager, like: TrainState, mesh: Mesh) -> TrainState | None:
    """Return the whole state of the last checkpoint, replicated over the devices, to continue its training.

    `load_variables` reads the network alone, to predict with it.

    Args:
        checkpoints: of `open_checkpoints`.
        like: a state with the expected names, shapes and types.
        mesh: the devices.

    Returns:
        The state, or None if there is no checkpoint.

    Raises:
        InputError: the checkpoint cannot be read, or is of another network; the line names the first difference.
    """
    step = checkpoints.latest_step()
    if step is None:
        return None
    everywhere = devices.replicated(mesh)
    target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=everywhere), like)
    place = to_path(checkpoints.directory) / str(step)
    with _readable(place):
        _check_shapes(place, _saved_shapes(place), target)
        return checkpoints.restore(step, args=ocp.args.StandardRestore(target))


def load_variables(folder: Path, memory: Any = (), expected: Variables | None = None) -> Variables:
    """Return the variables of the last checkpoint in a folder, as numpy arrays, to predict with them.

    Args:
        folder: of checkpoints.
        memory: the initial memory of the method, see `Method`; the variables have 'memory' unless it is ().
        expected: shapes of parameters and batch statistics that it has, see `initialise.shapes`; None for any network.

    Returns:
        'params' and 'batch_stats', and 'memory' if the method has one.

    Raises:
        InputError: there is no checkpoint, it cannot be read, or is of another network.
    """
    steps = _complete_steps(folder)
    if not steps:
        raise InputError(f"{folder} holds no checkpoint; run the stage that trains it first")
    place = folder.resolve() / str(max(steps))
    with _readable(place), _reader() as reader:
        saved = _saved_shapes(place)
        like = {name: saved[name] for name in ("params", "batch_stats")}
        if expected is not None:
            _check_shapes(place, like, expected, others=True)
        like |= {"memory": memory} if memory else {}
        like = jax.tree.map(lambda _: 0, like)
        kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
        return reader.restore(
            _in_orbax(place / "default"),
            args=ocp.args.PyTreeRestore(item=like, restore_args=kinds, partial_restore=True),
        )


def _saved_shapes(place: Path) -> dict[str, Any]:
    with _reader() as reader:
        return reader.metadata(_in_orbax(place / "default")).tree


def _reader() -> closing[ocp.PyTreeCheckpointHandler]:
    """A reader of arrays alone; Orbax's checkpointers would search for a list of items, and warn that there is none."""
    return closing(ocp.PyTreeCheckpointHandler())


def _check_shapes(place: Path, saved: dict[str, Any], target: TrainState | Variables, others: bool = False) -> None:
    """Raise InputError for the first difference; with `others` the checkpoint may have more, e.g. an auxiliary head."""

    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in leaves}

    present, expected = shapes(saved), shapes(target)
    for name in sorted(expected if others else present.keys() | expected.keys()):
        if present.get(name) != expected.get(name):
            actual, wanted = (f"shape {s[name]}" if name in s else "no array" for s in (present, expected))
            raise InputError(f"checkpoint {place}: {name}: {actual}; expected {wanted}")


@contextmanager
def _readable(place: Path) -> Iterator[None]:
    with _named(f"checkpoint {place} cannot be read", "delete that folder to continue from the one before it"):
        yield


@contextmanager
def _named(problem: str, advice: str) -> Iterator[None]:
    """Turn errors of Orbax and TensorStore, which are of many types and name no file, into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = re.split(r" \[\w+='|\. See full TensorStore", lines[0])[0]  # without TensorStore's own state
        reason = re.sub(r"^[A-Z_]+: Error writing .*: (?=[^:]+$)", "", reason)  # nor its names of files
        raise InputError(f"{problem} ({reason}); {advice}") from error
