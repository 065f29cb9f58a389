"""The loops of a stage that take time: their size, their memory, and a way to try a few of their batches."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from wsol_jax import devices
from wsol_jax.arrays import IN_MEMORY
from wsol_jax.backbones.initialise import initialise
from wsol_jax.data.kept_views import kept_views
from wsol_jax.data.plan import WHOLE, View
from wsol_jax.data.records import Record
from wsol_jax.data.render import Batch, render
from wsol_jax.methods.method import Method, Variables
from wsol_jax.methods.networks import input_size
from wsol_jax.stages.context import Context, training_records
from wsol_jax.stages.networks import make_method, predict_drawing, tested
from wsol_jax.stages.workdir import checkpoints_folder
from wsol_jax.training.batches import training_batches
from wsol_jax.training.checkpoints import last_step
from wsol_jax.training.kept_features import Kept, feature_batches, features_shape
from wsol_jax.training.optimiser import make_optimiser
from wsol_jax.training.predict import batches_of, predict_batch
from wsol_jax.training.step import initial_state, make_step

SOME = 8  # batches of photos that a part of the loops is tried on


class Work(NamedTuple):
    """A loop over batches of photos.

    Attributes:
        name: of the loop, in words.
        photos: that pass through it in all, counted each time they do.
        batches: in all.
        done: of them, by an earlier run.
        memory: what it holds -> bytes.
        attempt: () -> an iterator that computes a real batch whenever it is advanced; nothing is written.
    """

    name: str
    photos: int
    batches: int
    done: int
    memory: dict[str, int]
    attempt: Callable[[], Iterator[None]]


def training_work(stage: str, config: ConfigDict, context: Context, folder: Path) -> Work:
    """Return the training of a network on photos; the boxes to learn are made up.

    Args:
        stage: 'localizer', 'classifier', 'joint', 'train' or 'c2am'.
        config: its keys.
        context: of the stage.
        folder: of its checkpoints.
    """
    method, records = make_method(stage, config, len(context.dataset.classes)), training_records(context)
    boxes = np.tile(WHOLE, (len(records), 1)) if stage in ("localizer", "joint") else None

    def batches(steps: range) -> Iterator[Batch]:
        return training_batches(
            context.dataset, records, boxes, config=config, seed=context.seed, steps=steps, mesh=context.mesh
        )

    size = input_size(config)
    return _steps(stage, method, config, context, len(records), folder, batches, config.batch_size * size * size * 3)


def feature_work(
    stage: str,
    config: ConfigDict,
    context: Context,
    method: Method,
    head: Method,
    features_of: Callable[[Method, Variables, jax.Array], jax.Array],
    target_shape: tuple[int, ...] = (4,),
) -> list[Work]:
    """Return the two loops of a head on a frozen network: the features of all views, and its training on them.

    Args:
        stage: 'localizer' or 'c2am'.
        config: its keys.
        context: of the stage.
        method: that of the stage.
        head: the same, on features.
        features_of: (method, its variables, uint8 images) -> features.
        target_shape: of the target of a view.
    """
    records, size = training_records(context), input_size(config)
    variables = devices.replicate(_variables(method, size, context.seed), context.mesh)
    compute = partial(jax.jit(partial(features_of, method)), variables)
    shape = features_shape(compute, config.batch_size, size, len(records) * config.views)
    some = records[: math.ceil(SOME * config.batch_size / config.views)]
    kept = Kept(np.zeros((len(some) * config.views, *shape[1:]), np.float16), config.views)

    def attempt() -> Iterator[None]:
        planned = cycle(kept_views(context.seed, range(len(some)), config.views))
        yield from _forward(compute, context, some, planned, size, config.batch_size)

    def batches(steps: range) -> Iterator[Batch]:
        target = np.zeros((len(kept.features), *target_shape), np.float32)
        return feature_batches(
            kept, some, target, batch_size=config.batch_size, seed=context.seed, steps=steps, mesh=context.mesh
        )

    folder = checkpoints_folder(context.workdir, stage)
    targets = shape[0] * math.prod(target_shape) * np.dtype(np.float32).itemsize
    memory = {
        "kept features (disk)": math.prod(shape) * kept.features.itemsize,
        "targets (disk)" if targets > IN_MEMORY else "targets": targets,
    }
    features = Work(f"{stage}: features", shape[0], math.ceil(shape[0] / config.batch_size), 0, memory, attempt)
    batch_bytes = config.batch_size * math.prod(shape[1:]) * kept.features.itemsize
    return [features, _steps(f"{stage}: head", head, config, context, shape[0], folder, batches, batch_bytes)]


def forward_work(
    name: str,
    forward: Callable[[jax.Array], Any],
    variables: Variables,
    context: Context,
    *,
    size: int,
    batch_size: int,
) -> Work:
    """Return a pass of whole photos of all splits through a network.

    Args:
        name: of the loop.
        forward: uint8 images [b, size, size, 3], on the devices -> arrays.
        variables: of the network, for their bytes.
        context: of the stage.
        size: side of its input, pixels.
        batch_size: over all devices.
    """
    records = [record for of_split in context.dataset.splits.values() for record in of_split]

    def attempt() -> Iterator[None]:
        views = cycle(View(index, WHOLE, False, True) for index in range(len(records)))
        yield from _forward(forward, context, records, views, size, batch_size)

    memory = {"parameters": nbytes(variables), "batch": batch_size * size * size * 3}
    return Work(name, len(records), math.ceil(len(records) / batch_size), 0, memory, attempt)


def predict_work(
    stage: str, config: ConfigDict, predict: ConfigDict, splits: Sequence[str], context: Context, **changes: bool
) -> Work:
    """Return the predictions of a network of this run for some splits.

    Args:
        stage: that trains it.
        config: the keys of that stage.
        predict: the keys of `predict`.
        splits: whose photos.
        context: of the stage `predict`.
        **changes: `ten_crops` and `mirror` of `tested`.
    """
    method = make_method(stage, config, len(context.dataset.classes), predict_drawing(predict))
    variables = _variables(method, input_size(config), context.seed)
    method, window, size = tested(method, config, predict.test_geometry, **changes)
    records = [record for split in splits for record in context.dataset.splits[split]]
    steps = sum(math.ceil(len(context.dataset.splits[split]) / predict.batch_size) for split in splits)
    attempt = _predictions(method, variables, records, window, size, predict.batch_size, stage == "train", context)
    memory = {"parameters": nbytes(variables), "batch": predict.batch_size * size * size * 3}
    return Work(f"predict: {stage}", len(records), steps, 0, memory, attempt)


def select_work(config: ConfigDict, records: Sequence[Record], context: Context, epochs: int, done: int) -> Work:
    """Return the predictions after every epoch of a training that choose the best one.

    Args:
        config: the keys of `train`.
        records: the photos that select.
        context: of the stage.
        epochs: after which they are predicted.
        done: of them.
    """
    size, batch_size = input_size(config), config.batch_size
    method = make_method("train", config, len(context.dataset.classes))
    variables = _variables(method, size, context.seed)
    steps = math.ceil(len(records) / batch_size)
    attempt = _predictions(method, variables, records, WHOLE, size, batch_size, True, context)
    memory = {"parameters": nbytes(variables), "batch": batch_size * size * size * 3}
    return Work("train: select", epochs * len(records), epochs * steps, min(epochs, done) * steps, memory, attempt)


def _predictions(
    method: Method,
    variables: Variables,
    records: Sequence[Record],
    window: np.ndarray,
    size: int,
    batch_size: int,
    of_own_class: bool,
    context: Context,
) -> Callable[[], Iterator[None]]:
    """The attempt of a `Work` of predictions, see `predict_photos`."""

    def attempt() -> Iterator[None]:
        on_devices = devices.replicate(variables, context.mesh)
        batches = batches_of(context.dataset, records, window, size, batch_size, context.mesh)
        for batch in devices.prefetch(batches, context.mesh):
            jax.block_until_ready(predict_batch(method.predict, context.mesh, of_own_class, on_devices, batch))
            yield

    return attempt


def _steps(
    name: str,
    method: Method,
    config: ConfigDict,
    context: Context,
    photos: int,
    folder: Path,
    batches: Callable[[range], Iterator[Batch]],
    batch_bytes: int,
) -> Work:
    """A training, of which some steps are taken from new variables."""
    steps_per_epoch = photos / config.batch_size
    total = math.ceil(config.epochs * steps_per_epoch)
    optimiser = make_optimiser(config, steps_per_epoch, method.group, method.has_positive)
    variables = _variables(method, input_size(config), context.seed)
    like = jax.eval_shape(lambda variables: initial_state(variables, method.memory, optimiser), variables)

    def attempt() -> Iterator[None]:
        step = make_step(method, optimiser, context.seed, total, context.mesh)
        state = devices.replicate(initial_state(variables, method.memory, optimiser), context.mesh)
        for batch in devices.prefetch(batches(range(total)), context.mesh):
            state, logs = step(state, batch)
            jax.block_until_ready(logs)
            yield

    memory = {"parameters": nbytes(variables), "optimiser": nbytes(like.opt_state), "batch": batch_bytes}
    return Work(name, total * config.batch_size, total, min(total, last_step(folder)), memory, attempt)


def _forward(
    forward: Callable[[jax.Array], Any],
    context: Context,
    records: Sequence[Record],
    views: Iterator[View],
    size: int,
    batch_size: int,
) -> Iterator[None]:
    rows = devices.local_slice(batch_size, context.mesh)
    batches = render(context.dataset.read, records, views, size, rows.stop - rows.start)
    for batch in devices.prefetch(batches, context.mesh):
        jax.block_until_ready(forward(batch.image))
        yield


def _variables(method: Method, size: int, seed: int) -> Variables:
    return initialise(jax.random.key(seed), method.module, (1, size, size, 3))


def nbytes(tree: Any) -> int:
    """Return the bytes of a tree of arrays, or of their shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
