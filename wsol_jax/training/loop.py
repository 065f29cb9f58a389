"""The training loop: from the last checkpoint, or the first step, to the last step."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from wsol_jax import devices
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Method, Variables
from wsol_jax.progress import track
from wsol_jax.training.checkpoints import finish, open_checkpoints, restore, save
from wsol_jax.training.log import WATCH, LogFile, TrainingLog, read_log
from wsol_jax.training.optimiser import sgd
from wsol_jax.training.step import TrainState, initial_state, make_step


def fit(
    folder: Path,
    method: Method,
    variables: Variables,
    batches: Callable[[range], Iterator[Batch]],
    photos: int,
    config: ConfigDict,
    seed: int,
    mesh: Mesh,
    watch: Callable[[Variables], dict[str, float]] | None = None,
) -> TrainState:
    """Train to the last step, continuing from the last checkpoint in `folder`, and save the last state there.

    Args:
        folder: for checkpoints/, tensorboard/, log.jsonl and watch.jsonl.
        method: the method to train.
        variables: the initial parameters and batch statistics.
        batches: range of steps -> this process's batches.
        photos: in an epoch.
        config: the keys of a training, see `stages.training`.
        seed: of the run.
        mesh: the devices.
        watch: variables with 'memory' -> named numbers, before the first step and after every epoch.

    Returns:
        The state after the last step.

    Raises:
        InputError: the loss is no longer a number, or a checkpoint cannot be read or written.
    """
    steps_per_epoch = photos / config.batch_size
    total_steps = math.ceil(config.epochs * steps_per_epoch)
    optimiser = sgd(config, steps_per_epoch, method.group)
    step = make_step(method, optimiser, seed, total_steps, mesh)
    state = initial_state(variables, method.memory, optimiser)
    checkpoints = open_checkpoints(folder / "checkpoints")
    state = restore(checkpoints, state, mesh) or devices.replicate(state, mesh)
    start = int(state.step)
    if start:
        logging.info("%s: continuing from step %d of %d", folder.name, start, total_steps)
    log = TrainingLog(folder, start)
    watching = watch and _at_epochs(watch, LogFile(folder, start, WATCH), steps_per_epoch, total_steps)
    if watching:
        watching(start, state)

    todo = range(start, total_steps)
    photos_left = len(todo) * config.batch_size
    on_device = devices.prefetch(batches(todo), mesh)
    for done, batch in zip(track(todo, photos_left, folder.name, weight=config.batch_size), on_device, strict=True):
        state, logs = step(state, batch)
        if (done + 1) % config.log_every == 0 or done + 1 == total_steps:
            values = {name: float(value) for name, value in logs.items()}
            log.write(done + 1, values)
        if watching:
            watching(done + 1, state)
        if (done + 1) % config.checkpoint_every == 0 or done + 1 == total_steps:
            save(checkpoints, state)
    finish(checkpoints)
    if todo:
        _warn_of_missed(folder.name, values, total_steps)
    return state


def _warn_of_missed(name: str, values: Mapping[str, float], steps: int) -> None:
    """Log a warning if the last logs count anything under `missed_`."""
    missed = ", ".join(f"{what} {times:.0f}" for what, times in values.items() if what.startswith("missed_") and times)
    if missed:
        logging.warning("%s: terms of the loss were 0 for lack of pixels, in %d steps: %s", name, steps, missed)


def _at_epochs(
    watch: Callable[[Variables], dict[str, float]], file: LogFile, steps_per_epoch: float, total_steps: int
) -> Callable[[int, TrainState], None]:
    """Return a function of (steps done, state) that watches the state once at the end of every epoch."""
    epochs = total_steps / steps_per_epoch
    ends = (min(epoch, epochs) for epoch in range(math.ceil(epochs) + 1))
    due = {math.ceil(round(epoch * steps_per_epoch, 6)): epoch for epoch in ends}
    seen = {line["step"] for line in read_log(file.path.parent, file.path.name)}

    def watch_if_due(step: int, state: TrainState) -> None:
        if step in due and step not in seen:
            memory = {"memory": state.memory} if state.memory else {}
            values = watch({"params": state.params, "batch_stats": state.batch_stats} | memory)
            file.write(step, {"epoch": due[step]} | values)

    return watch_if_due
