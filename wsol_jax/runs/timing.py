"""Times of a training step and of a prediction of several trained networks, in milliseconds per image.

The networks take turns, so that other load of the machine affects all of them alike; ratios are those within a turn.
Nothing is written: the checkpoints stay as they are.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import cycle, islice
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from wsol_jax import devices
from wsol_jax.backbones.initialise import shapes
from wsol_jax.data.plan import test_window
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Logs, Prediction, Variables
from wsol_jax.methods.networks import input_size, resize_size
from wsol_jax.progress import track
from wsol_jax.stages.context import Context, chosen_splits, training_records
from wsol_jax.stages.networks import Trained, make_method
from wsol_jax.training.batches import training_batches
from wsol_jax.training.checkpoints import open_checkpoints, restore
from wsol_jax.training.optimiser import make_optimiser
from wsol_jax.training.predict import batches_of, predict_batch
from wsol_jax.training.step import TrainState, initial_state, make_step


class Times(NamedTuple):
    """Times of a network.

    Attributes:
        train: float64 [turns], milliseconds per image of a training step.
        test: likewise of a prediction.
    """

    train: np.ndarray
    test: np.ndarray


class Timed(NamedTuple):
    """A network to time.

    Attributes:
        state: as its training left it; every turn trains it a step further.
        step: its training step.
        predict: computes its classes and maps.
    """

    state: TrainState
    step: Callable[[TrainState, Batch], tuple[TrainState, Logs]]
    predict: Callable[[Variables, Batch], Prediction]


def measure(networks: Mapping[str, Trained], predict: ConfigDict, context: Context, turns: int) -> dict[str, Times]:
    """Time networks of the stage `train` that differ in their method alone, on real batches on the devices.

    Predictions are timed without DA-WSOL's sets of pixels: neither a box nor a mask needs them.

    Args:
        networks: name -> a trained one, all of the same photos, sizes of batches and of input.
        predict: the keys of `predict`.
        context: of one of them.
        turns: to time; one more before them compiles and is not counted.

    Returns:
        Name -> its times.
    """
    timed = {name: _timed(trained, context) for name, trained in networks.items()}
    config = next(iter(networks.values())).config
    taken = {name: ([], []) for name in timed}
    batches = zip(_training(config, context, turns + 1), _test(config, predict, context, turns + 1), strict=True)
    for training, test in track(batches, turns + 1, "timing", unit="turns"):
        for name, (state, step, predict_timed) in timed.items():
            seconds, (state, _) = _clock(step, state, training)
            taken[name][0].append(1000 * seconds / config.batch_size)
            timed[name] = Timed(state, step, predict_timed)
            variables = {"params": state.params, "batch_stats": state.batch_stats}
            taken[name][1].append(1000 * _clock(predict_timed, variables, test)[0] / predict.batch_size)
    return {name: Times(*(np.array(times[1:]) for times in both)) for name, both in taken.items()}


def _timed(trained: Trained, context: Context) -> Timed:
    """A network with the whole state of its last checkpoint."""
    config, photos, size = trained.config, len(training_records(context)), input_size(trained.config)
    method = make_method("train", config, len(context.dataset.classes))
    optimiser = make_optimiser(config, photos / config.batch_size, method.group, method.has_positive)
    variables = {"batch_stats": {}} | shapes(method.module, (1, size, size, 3))
    like = jax.eval_shape(lambda variables: initial_state(variables, method.memory, optimiser), variables)
    state = restore(open_checkpoints(trained.checkpoints), like, context.mesh)
    step = make_step(method, optimiser, context.seed, int(state.step), context.mesh)
    return Timed(state, step, partial(predict_batch, method.predict, context.mesh, True))


def _training(config: ConfigDict, context: Context, count: int) -> list[Batch]:
    records = training_records(context)
    batches = training_batches(
        context.dataset, records, None, config=config, seed=context.seed, steps=range(count), mesh=context.mesh
    )
    return list(devices.prefetch(batches, context.mesh))


def _test(config: ConfigDict, predict: ConfigDict, context: Context, count: int) -> list[Batch]:
    """The first batches of the first split that is predicted, again and again where there are fewer."""
    records = context.dataset.splits[chosen_splits(predict.splits, context)[0]]
    size = input_size(config)
    window = test_window(predict.test_geometry, size / resize_size(config))
    batches = batches_of(context.dataset, records, window, size, predict.batch_size, context.mesh)
    return list(islice(cycle(devices.prefetch(islice(batches, count), context.mesh)), count))


def _clock(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """The seconds that a call takes until its results are computed, and the results."""
    start = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start, result
