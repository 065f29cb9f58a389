"""Checkpoints of the whole state, written beside the training, complete or not there at all."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from wsol_jax import devices
from wsol_jax.errors import InputError
from wsol_jax.methods.method import Variables
from wsol_jax.training.step import TrainState


def open_checkpoints(folder: Path) -> ocp.CheckpointManager:
    """The last two checkpoints of a folder; a save that was cut off is not among them and is cleared away."""
    options = ocp.CheckpointManagerOptions(max_to_keep=2, cleanup_tmp_directories=True)
    return ocp.CheckpointManager(folder.resolve(), options=options)


def save(checkpoints: ocp.CheckpointManager, state: TrainState) -> None:
    """Starts to write the state under its step; returns once its values are copied.

    Raises:
        InputError: this or the save before it cannot be written; what was saved earlier is untouched.
    """
    with _named(f"a checkpoint cannot be written to {checkpoints.directory}", "the one before it is kept"):
        checkpoints.save(int(state.step), args=ocp.args.StandardSave(state))


def finish(checkpoints: ocp.CheckpointManager) -> None:
    """Waits for the last save.

    Raises:
        InputError: it cannot be written; what was saved earlier is untouched.
    """
    with _named(f"a checkpoint cannot be written to {checkpoints.directory}", "the one before it is kept"):
        checkpoints.wait_until_finished()
        checkpoints.close()


def restore(checkpoints: ocp.CheckpointManager, like: TrainState, mesh: Mesh) -> TrainState | None:
    """The last state saved, on every device, or None if there is none.

    Args:
        checkpoints: where to look.
        like: a state of the shapes that are expected.
        mesh: the devices.

    Raises:
        InputError: the checkpoint cannot be read, or is of another network: the first name that differs is told.
    """
    step = checkpoints.latest_step()
    if step is None:
        return None
    everywhere = devices.replicated(mesh)
    target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=everywhere), like)
    place = Path(checkpoints.directory) / str(step)
    with _readable(place):
        _check_shapes(place, _saved_shapes(place), target)
        return checkpoints.restore(step, args=ocp.args.StandardRestore(target))


def load_variables(folder: Path, memory: Any = ()) -> Variables:
    """The parameters and batch statistics of the last checkpoint in a folder, as numpy arrays.

    Args:
        folder: of checkpoints.
        memory: what its method remembers, of which 'memory' is to be like; without it there is no 'memory'.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    step = open_checkpoints(folder).latest_step() if folder.is_dir() else None
    if step is None:
        raise InputError(f"{folder} holds no checkpoint; run the stage that trains it first")
    place = folder.resolve() / str(step)
    with _readable(place), ocp.PyTreeCheckpointer() as reader:
        saved = _saved_shapes(place)
        like = {name: saved[name] for name in ("params", "batch_stats")} | ({"memory": memory} if memory else {})
        like = jax.tree.map(lambda _: 0, like)
        kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
        return reader.restore(
            place / "default", args=ocp.args.PyTreeRestore(item=like, restore_args=kinds, partial_restore=True)
        )


def _saved_shapes(place: Path) -> dict[str, Any]:
    with ocp.PyTreeCheckpointer() as reader:
        metadata = reader.metadata(place / "default").item_metadata
    if metadata is None:
        raise ValueError("it does not say what it holds")
    return metadata.tree


def _check_shapes(place: Path, saved: dict[str, Any], target: TrainState) -> None:
    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in leaves}

    found, expected = shapes(saved), shapes(target)
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            had, wanted = (s.get(name, "nothing") for s in (found, expected))
            raise InputError(f"checkpoint {place}: {name} has shape {had}, expected {wanted}")


@contextmanager
def _readable(place: Path) -> Iterator[None]:
    with _named(f"checkpoint {place} cannot be read", "delete that folder to go on from the one before it"):
        yield


@contextmanager
def _named(problem: str, advice: str) -> Iterator[None]:
    """Turns what Orbax and TensorStore raise, which is of many kinds and names nothing, into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = re.split(r" \[\w+='|\. See full TensorStore", lines[0])[0]  # without TensorStore's own state
        raise InputError(f"{problem} ({reason}); {advice}") from error
