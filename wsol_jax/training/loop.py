"""The training loop: from the last checkpoint, or the first step, to the last step."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from wsol_jax import devices, processes
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Logs, Method, Variables
from wsol_jax.progress import meter
from wsol_jax.training.best_epoch import Select, keeping_best
from wsol_jax.training.checkpoints import finish, open_checkpoints, restore, save
from wsol_jax.training.log import SELECT, WATCH, LogFile, TrainingLog, read_log
from wsol_jax.training.optimiser import learning_rate, make_optimiser
from wsol_jax.training.step import GRADIENT_NORM, TrainState, initial_state, make_step, variables_of
from wsol_jax.training.watch import Watch

Batches = Callable[[range], Iterator[Batch]]
"""Consecutive steps -> this process's share of their batches."""

AHEAD = 2  # steps that are begun before the first of them is finished


class _Steps(NamedTuple):
    """The steps that are done when a training begins or continues, all of them, and those of an epoch, a fraction."""

    start: int
    total: int
    per_epoch: float


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
    per_epoch = photos / config.batch_size
    total = math.ceil(config.epochs * per_epoch)
    optimiser = make_optimiser(config, per_epoch, method.group, method.has_positive)
    step = make_step(method, optimiser, seed, total, mesh)
    checkpoints = open_checkpoints(folder / "checkpoints")
    state = initial_state(variables, method.memory, optimiser)
    state = restore(checkpoints, state, mesh) or devices.replicate(state, mesh)
    steps = _Steps(int(state.step), total, per_epoch)
    if steps.start:
        logging.info("%s: continuing from step %d of %d", folder.name, steps.start, total)
    log = TrainingLog(folder, steps.start)
    log_if_due, watches = _logging(folder.name, log, config, steps), _watches(folder, steps, watch, select)
    for watch_if_due in watches:
        watch_if_due(steps.start, state)
    on_device = devices.prefetch(batches(range(steps.start, total)), mesh)
    is_due, stopped = _timer(config, total), False
    with processes.stop_requests() as is_requested:
        with _progress(folder.name, steps, config.batch_size) as begun:
            for done, batch in zip(range(steps.start + 1, total + 1), on_device, strict=True):
                if done == steps.start + 1:
                    log.write_photos(steps.start, batch)
                state, logs = step(state, batch)
                begun(done, logs)
                is_logged = log_if_due(done, logs)
                for watch_if_due in watches:
                    watch_if_due(done, state)
                can_agree = is_logged or processes.count() == 1  # several do where they wait for devices anyway
                stopped = can_agree and processes.is_set_anywhere(is_requested())
                if is_due(done, can_agree) or stopped:
                    log.flush()
                    save(checkpoints, state)
                if stopped:
                    break
        finish(checkpoints)
        stopped = processes.is_set_anywhere(stopped or is_requested())
    if stopped:
        logging.info("%s: stopped by SIGTERM; step %d of %d is saved", folder.name, int(state.step), total)
        raise SystemExit(processes.STOPPED)
    return state


@contextmanager
def _progress(name: str, steps: _Steps, batch_size: int) -> Iterator[Callable[[int, Logs], None]]:
    """Yield a function of (steps begun, logs of the last one) that shows how many are finished.

    Devices work on a step long after it was called: this waits for the step two before, which leaves them busy, and at
    the end for all of them.
    """
    waiting: deque[tuple[int, Logs]] = deque()
    epochs = f"{steps.total / steps.per_epoch:.3g}"
    with meter((steps.total - steps.start) * batch_size, name) as advance:

        def show(unfinished: int) -> None:
            while len(waiting) > unfinished:
                done, logs = waiting.popleft()
                jax.block_until_ready(logs)
                detail = f"step {done} of {steps.total}, epoch {done / steps.per_epoch:.2f} of {epochs}"
                advance((done - steps.start) * batch_size, detail)

        def begun(step: int, logs: Logs) -> None:
            waiting.append((step, logs))
            show(AHEAD)

        yield begun
        show(0)


def _logging(name: str, log: TrainingLog, config: ConfigDict, steps: _Steps) -> Callable[[int, Logs], bool]:
    """A function of (steps done, logs of the last one) that writes a line where one is due; whether it was."""
    rate = learning_rate(config, steps.per_epoch)

    def log_if_due(done: int, logs: Logs) -> bool:
        is_due = done % config.log_every == 0 or done == steps.total
        if is_due:
            values = {key: float(value) for key, value in jax.device_get(logs).items()}
            norm = values.pop(GRADIENT_NORM)
            log.write(done, values, {"learning_rate": float(rate(done - 1)), GRADIENT_NORM: norm})
            if done == steps.total:
                _warn_of_missed(name, values, done)
        return is_due

    return log_if_due


def _warn_of_missed(name: str, values: Mapping[str, float], steps: int) -> None:
    """Log a warning if the last logs have a count above zero, see `Logs`."""
    missed = ", ".join(f"{key} {count:.0f}" for key, count in values.items() if key.startswith("missed_") and count)
    if missed:
        logging.warning("%s: terms of the loss were 0 for lack of pixels, in %d steps: %s", name, steps, missed)


def _timer(config: ConfigDict, total: int) -> Callable[[int, bool], bool]:
    """A function of (steps done, whether processes may agree) that returns whether a checkpoint is due."""
    last, seconds = time.monotonic(), 60 * config.checkpoint_minutes

    def is_due(done: int, can_agree: bool) -> bool:
        nonlocal last
        is_late = can_agree and seconds > 0 and processes.is_set_anywhere(time.monotonic() - last >= seconds)
        if is_late or done % config.checkpoint_every == 0:
            last = time.monotonic()
            return True
        return done == total

    return is_due


def _watches(
    folder: Path, steps: _Steps, watch: Watch | None, select: Select | None
) -> list[Callable[[int, TrainState], None]]:
    """Functions of (steps done, state) that measure the state after an epoch, see `fit`."""
    watches = []
    if watch:
        file = LogFile(folder, steps.start, WATCH)
        watches.append(_at_epochs(lambda state: watch(variables_of(state)), file, 0, steps))
    if select:
        file = LogFile(folder, steps.start, SELECT)  # cut back before `keeping_best` reads it
        watches.append(_at_epochs(keeping_best(select, folder), file, 1, steps))
    return watches


def _at_epochs(
    measure: Callable[[TrainState], dict[str, float]], file: LogFile, first: int, steps: _Steps
) -> Callable[[int, TrainState], None]:
    """A function of (steps done, state) that measures the state once after every epoch from number `first` on.

    Epoch 0 ends before the first step.
    """
    epochs = steps.total / steps.per_epoch
    ends = [min(epoch, epochs) for epoch in range(first, math.ceil(epochs) + 1)]
    due = {math.ceil(round(epoch * steps.per_epoch, 6)): epoch for epoch in reversed(ends)}  # of one step the first
    lines = processes.from_first(lambda: read_log(file.path.parent, file.path.name))
    watched = {line["step"] for line in lines}

    def watch_if_due(step: int, state: TrainState) -> None:
        if step in due and step not in watched:
            file.write(step, {"epoch": due[step]} | measure(state))

    return watch_if_due
