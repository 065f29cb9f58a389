"""The best checkpoint of a training, by a metric of score maps that is measured after every epoch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from wsol_jax import processes
from wsol_jax.data.plan import WHOLE
from wsol_jax.data.records import Dataset, Record
from wsol_jax.evaluation import maps
from wsol_jax.evaluation.score_maps import STEP, score_map
from wsol_jax.methods.method import Method, Variables
from wsol_jax.methods.networks import input_size
from wsol_jax.training.checkpoints import finish, last_step, open_checkpoints, save
from wsol_jax.training.log import SELECT, read_log
from wsol_jax.training.predict import predict_photos
from wsol_jax.training.step import TrainState, variables_of

BEST = "best"
"""The folder of the best checkpoint, next to checkpoints/, whose last one a training continues from."""

SIDE = 224  # of the maps that are compared, pixels

Select = Callable[[Variables], float]
"""Variables with 'memory' -> the metric that selects, the larger the better; NaN in other processes than the first."""


def make_select(
    method: Method, records: Sequence[Record], metric: str, config: ConfigDict, dataset: Dataset, mesh: Mesh
) -> Select:
    """Return the function that measures a network by its score maps, at the best threshold.

    Args:
        method: the method that is trained.
        records: photos with the boxes, true or pseudo, and masks that it is measured by.
        metric: a name of `evaluation.maps.numbers`.
        config: the keys of `train`.
        dataset: reads the pixels and masks.
        mesh: the devices.
    """
    labels = np.array([record.label for record in records])

    def select(variables: Variables) -> float:
        prediction = predict_photos(
            method,
            variables,
            dataset,
            records,
            window=WHOLE,
            size=input_size(config),
            batch_size=config.batch_size,
            name="photos that select",
            mesh=mesh,
            of_own_class=True,
        )
        if prediction is None:
            return np.nan

        def of_record(i: int) -> np.ndarray:
            return score_map(prediction.map[i], (SIDE, SIDE))

        top1 = (prediction.logits.argmax(axis=-1) == labels).astype(np.float64)
        results = maps.measure(f"maps that select, {metric}", dataset, records, of_record, top1, STEP)
        return maps.numbers(results, STEP)[metric]

    return select


def keeping_best(select: Select, folder: Path) -> Callable[[TrainState], dict[str, float]]:
    """Return the measurement of a state for a line of select.jsonl; the best state so far is saved in best/.

    The states before are known from their lines. A checkpoint is complete before its line is written, so that a
    training that was killed in between measures again, and comes to the same; Orbax then keeps the checkpoint of this
    step, or of a later one, and writes nothing.

    Args:
        select: measures the network.
        folder: of the training, whose select.jsonl is cut back to the step that it continues from.
    """
    lines = processes.from_first(lambda: read_log(folder, SELECT))
    best = max((line["value"] for line in lines), default=-np.inf)

    def measure(state: TrainState) -> dict[str, float]:
        nonlocal best
        measured = select(variables_of(state))
        value = processes.from_first(lambda: measured)
        if value > best:
            best = value
            checkpoints = open_checkpoints(folder / BEST, keep=1)
            save(checkpoints, state)
            finish(checkpoints)
        return {"value": value}

    return measure


def describe(folder: Path) -> str:
    """Return the best epoch of a training and its value, and those of the last one, for the log.

    Args:
        folder: of the training.
    """
    lines, step = read_log(folder, SELECT), last_step(folder / BEST)
    best = next((line for line in lines if line["step"] == step), None)
    if best is None:
        return f"{folder.name}: the checkpoint of step {step}, which select.jsonl does not list"
    last = lines[-1]
    return (
        f"{folder.name}: the network of epoch {best['epoch']:g}, with {best['value']:.2f}; the last one, of epoch "
        f"{last['epoch']:g}, has {last['value']:.2f}"
    )
