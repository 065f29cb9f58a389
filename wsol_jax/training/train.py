"""The training loop: from the last checkpoint, or the first step, to the last step."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from wsol_jax.data import plan
from wsol_jax.data.records import Dataset, Record
from wsol_jax.data.render import Batch, render
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.methods.method import Method, Variables
from wsol_jax.methods.networks import input_size, resize_size
from wsol_jax.progress import track
from wsol_jax.training import devices
from wsol_jax.training.checkpoints import finish, open_checkpoints, restore, save
from wsol_jax.training.optimiser import sgd
from wsol_jax.training.step import TrainState, initial_state, make_step

LOG, WATCH = "log.jsonl", "watch.jsonl"


def training_batches(
    dataset: Dataset,
    records: Sequence[Record],
    boxes: np.ndarray | None,
    config: ConfigDict,
    seed: int,
    steps: range,
    mesh: Mesh,
) -> Iterator[Batch]:
    """This process's share of the batches of `steps`; the same photos and crops however many processes there are.

    Args:
        dataset: gives the pixels.
        records: to train on.
        boxes: [n, 4], what is to be learned, normalised xyxy; None where no box is.
        config: training keys of configs/base.py.
        seed: of the run.
        steps: consecutive steps.
        mesh: the devices.
    """
    rows = devices.local_slice(config.batch_size, mesh)
    positions = plan.training_positions(steps.start, steps.stop, config.batch_size, rows)
    sizes = [r.size for r in records]
    to_meet = np.tile(plan.WHOLE, (len(records), 1)) if boxes is None else boxes
    square = input_size(config), resize_size(config)
    views = plan.training_views(seed, sizes, to_meet, config.augment, square, positions)

    def target(view: plan.View) -> np.ndarray:
        return plan.target_box(boxes[view.index], sizes[view.index], view)

    share = rows.stop - rows.start
    return render(dataset.read, records, views, input_size(config), share, None if boxes is None else target)


def train(
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
    """Trains to the end, going on from the last checkpoint in `folder`; the last state is saved there.

    Args:
        folder: for checkpoints/, tensorboard/, log.jsonl and watch.jsonl.
        method: what is learned.
        variables: to start from.
        batches: range of steps -> this process's batches.
        photos: in an epoch.
        config: training keys of configs/base.py.
        seed: of the run.
        mesh: the devices.
        watch: variables with 'memory' -> what is told of them before the first step and after every epoch.

    Raises:
        InputError: if the loss is no longer a number, or a checkpoint cannot be read or written.
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
        logging.info("%s: going on from step %d of %d", folder.name, start, total_steps)
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
        _tell_missed(folder.name, values, total_steps)
    return state


def _tell_missed(name: str, values: Mapping[str, float], steps: int) -> None:
    """A warning if anything that the last logs count under `missed_` was missed."""
    missed = ", ".join(f"{what} {times:.0f}" for what, times in values.items() if what.startswith("missed_") and times)
    if missed:
        logging.warning("%s: terms of the loss were 0 for lack of pixels, in %d steps: %s", name, steps, missed)


def _at_epochs(
    watch: Callable[[Variables], dict[str, float]], file: "LogFile", steps_per_epoch: float, total_steps: int
) -> Callable[[int, TrainState], None]:
    """What looks at the state after so many steps, once, if they are the first that make a whole number of epochs."""
    epochs = total_steps / steps_per_epoch
    ends = (min(epoch, epochs) for epoch in range(math.ceil(epochs) + 1))
    due = {math.ceil(round(epoch * steps_per_epoch, 6)): epoch for epoch in ends}
    seen = {line["step"] for line in read_log(file.path.parent, file.path.name)}

    def look(step: int, state: TrainState) -> None:
        if step in due and step not in seen:
            remembered = {"memory": state.memory} if state.memory else {}
            told = watch({"params": state.params, "batch_stats": state.batch_stats} | remembered)
            file.write(step, {"epoch": due[step]} | told)

    return look


class LogFile:
    """Lines of JSON with a step each, without those past the step gone on from; the first process alone writes."""

    def __init__(self, folder: Path, start: int, name: str = LOG):
        self.path, self.is_ours = folder / name, jax.process_index() == 0
        if self.is_ours:
            kept = "".join(json.dumps(line) + "\n" for line in read_log(folder, name) if line["step"] <= start)
            write_atomically(self.path, lambda file: file.write(kept.encode()))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Adds a line."""
        if self.is_ours:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": step} | values) + "\n")


class TrainingLog:
    """The curve of a training: lines of log.jsonl, and TensorBoard events."""

    def __init__(self, folder: Path, start: int):
        from clu import metric_writers

        self.file = LogFile(folder, start)
        self.writer = metric_writers.create_default_writer(
            str(folder / "tensorboard"), just_logging=not self.file.is_ours, asynchronous=False
        )

    def write(self, step: int, values: dict[str, float]) -> None:
        """Adds the values of one step.

        Raises:
            InputError: if the loss is not a finite number.
        """
        if not math.isfinite(values["loss"]):
            raise InputError(
                f"{self.file.path.parent.name}: the loss is {values['loss']} at step {step}; lower learning_rate"
            )
        self.writer.write_scalars(step, values)
        self.file.write(step, values)


def read_log(folder: Path, name: str = LOG) -> list[dict[str, float]]:
    """The lines written so far to a `LogFile`; a last line that was cut off is left out."""
    path = folder / name
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
