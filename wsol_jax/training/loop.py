"""The training loop: from the last checkpoint, or the first step, to the last step."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from wsol_jax import devices, processes
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Logs, Method, Variables
from wsol_jax.progress import Advance, meter
from wsol_jax.training.best_epoch import Select, keeping_best
from wsol_jax.training.checkpoints import finish, open_checkpoints, restore, save
from wsol_jax.training.log import SELECT, WATCH, LogFile, TrainingLog, read_log
from wsol_jax.training.optimiser import learning_rate, make_optimiser
from wsol_jax.training.step import GRADIENT_NORM, TrainState, initial_state, make_step, variables_of
from wsol_jax.training.watch import Watch

Batches = Callable[[range], Iterator[Batch]]
"""Consecutive steps -> this process's share of their batches."""

AHEAD = 2  # steps that are begun before the first of them is finished


def fit(
    folder: Path,
    method: Method,
    variables: Variables,
    batches: Batches,
    *,
    photos: int,
    config: ConfigDict,
    seed: int,
    mesh: Mesh,
    watch: Watch | None = None,
    select: Select | None = None,
) -> TrainState:
    """Train to the last step, continuing from the last checkpoint in `folder`, and save the last state there.

    Args:
        folder: for checkpoints/, best/, tensorboard/, log.jsonl, watch.jsonl and select.jsonl.
        method: the method to train.
        variables: the initial parameters and batch statistics.
        batches: the batches of steps, see `training_batches`.
        photos: number of photos in an epoch.
        config: the keys of a training, see `stages.training`.
        seed: of the run.
        mesh: the devices.
        watch: variables with 'memory' -> named numbers for watch.jsonl, before the first step and after every epoch.
        select: variables with 'memory' -> a metric for select.jsonl, after every epoch; best/ has the best state.

    Returns:
        The state after the last step.

    Raises:
        InputError: the loss is not finite, or a checkpoint or a log cannot be read or written.
        SystemExit: SIGTERM arrived, in any process; the state is saved. Several processes see it at the next log line.
    """
    steps_per_epoch = photos / config.batch_size
    total_steps = math.ceil(config.epochs * steps_per_epoch)
    optimiser, rate = make_optimiser(config, steps_per_epoch, method.group), learning_rate(config, steps_per_epoch)
    step = make_step(method, optimiser, seed, total_steps, mesh)
    state = initial_state(variables, method.memory, optimiser)
    checkpoints = open_checkpoints(folder / "checkpoints")
    state = restore(checkpoints, state, mesh) or devices.replicate(state, mesh)
    start = int(state.step)
    if start:
        logging.info("%s: continuing from step %d of %d", folder.name, start, total_steps)
    log = TrainingLog(folder, start)
    at_epochs = partial(_at_epochs, steps_per_epoch=steps_per_epoch, total_steps=total_steps)
    watches = []
    if watch:
        watches.append(at_epochs(lambda state: watch(variables_of(state)), LogFile(folder, start, WATCH), first=0))
    if select:
        file = LogFile(folder, start, SELECT)
        watches.append(at_epochs(keeping_best(select, folder), file, first=1))
    for watch_if_due in watches:
        watch_if_due(start, state)

    steps_left = range(start, total_steps)
    on_device = devices.prefetch(batches(steps_left), mesh)
    is_time_to_save, stopped = _timer(config), False
    with processes.stop_requests() as is_requested:
        with meter(len(steps_left) * config.batch_size, folder.name) as advance:
            finished = _finished(start, total_steps, photos, config.batch_size, advance)
            for number, batch in zip(steps_left, on_device, strict=True):
                if number == start:
                    log.write_photos(start, batch)
                state, logs = step(state, batch)
                done = number + 1
                finished(done, logs)
                is_logged = done % config.log_every == 0 or done == total_steps
                if is_logged:
                    values = {name: float(value) for name, value in jax.device_get(logs).items()}
                    norm = values.pop(GRADIENT_NORM)
                    log.write(done, values, {"learning_rate": float(rate(number)), GRADIENT_NORM: norm})
                for watch_if_due in watches:
                    watch_if_due(done, state)
                if is_logged or processes.count() == 1:  # several processes agree where they wait for devices anyway
                    stopped = processes.is_set_anywhere(is_requested())
                is_due = is_time_to_save(done) or done % config.checkpoint_every == 0
                if is_due or done == total_steps or stopped:
                    log.flush()
                    save(checkpoints, state)
                if stopped:
                    break
            finished(int(state.step), None)
        finish(checkpoints)
        stopped = processes.is_set_anywhere(stopped or is_requested())
    if stopped:
        logging.info("%s: asked to stop; step %d of %d is saved", folder.name, int(state.step), total_steps)
        raise SystemExit(processes.STOPPED)
    if steps_left:
        _warn_of_missed(folder.name, values, total_steps)
    return state


def _finished(
    start: int, total_steps: int, photos: int, batch_size: int, advance: Advance
) -> Callable[[int, Logs | None], None]:
    """A function of (steps begun, logs of the last one) that shows how many are finished.

    Devices work on a step long after it was called: this waits for the step two before, which leaves them busy. With
    None for the logs it waits for all of them.
    """
    waiting: deque[tuple[int, Logs]] = deque()
    epochs = f"{total_steps * batch_size / photos:.3g}"

    def finished(step: int, logs: Logs | None) -> None:
        if logs is not None:
            waiting.append((step, logs))
        while len(waiting) > (AHEAD if logs is not None else 0):
            done, result = waiting.popleft()
            jax.block_until_ready(result)
            detail = f"step {done} of {total_steps}, epoch {done * batch_size / photos:.2f} of {epochs}"
            advance((done - start) * batch_size, detail)

    return finished


def _timer(config: ConfigDict) -> Callable[[int], bool]:
    """A function of steps that are done: whether a checkpoint is due by time, in all processes at the same step."""
    last, seconds = time.monotonic(), 60 * config.checkpoint_minutes

    def is_due(done: int) -> bool:
        nonlocal last
        if not seconds or (processes.count() > 1 and done % config.log_every):
            return False  # processes agree about the time only where they wait for each other anyway
        is_over = processes.is_set_anywhere(time.monotonic() - last >= seconds)
        if is_over or done % config.checkpoint_every == 0:
            last = time.monotonic()
        return is_over

    return is_due


def _warn_of_missed(name: str, values: Mapping[str, float], steps: int) -> None:
    """Log a warning if the last logs have a count above zero, see `Logs`."""
    missed = ", ".join(f"{key} {count:.0f}" for key, count in values.items() if key.startswith("missed_") and count)
    if missed:
        logging.warning("%s: terms of the loss were 0 for lack of pixels, in %d steps: %s", name, steps, missed)


def _at_epochs(
    measure: Callable[[TrainState], dict[str, float]],
    file: LogFile,
    *,
    first: int,
    steps_per_epoch: float,
    total_steps: int,
) -> Callable[[int, TrainState], None]:
    """A function of (steps done, state) that measures the state once after every epoch from number `first` on.

    Epoch 0 ends before the first step.
    """
    epochs = total_steps / steps_per_epoch
    ends = [min(epoch, epochs) for epoch in range(first, math.ceil(epochs) + 1)]
    due = {math.ceil(round(epoch * steps_per_epoch, 6)): epoch for epoch in reversed(ends)}  # of one step the first
    lines = processes.from_first(lambda: read_log(file.path.parent, file.path.name))
    watched = {line["step"] for line in lines}

    def watch_if_due(step: int, state: TrainState) -> None:
        if step in due and step not in watched:
            file.write(step, {"epoch": due[step]} | measure(state))

    return watch_if_due
