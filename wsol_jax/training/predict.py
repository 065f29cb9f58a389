"""Predictions of a trained method for many photos, in the order of their records."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from wsol_jax import devices, processes
from wsol_jax.arrays import scratch
from wsol_jax.data import plan
from wsol_jax.data.records import Dataset, Record
from wsol_jax.data.render import Batch, render
from wsol_jax.errors import InputError
from wsol_jax.methods.method import Method, Prediction, Variables
from wsol_jax.progress import track


def predict_photos(
    method: Method,
    variables: Variables,
    dataset: Dataset,
    records: Sequence[Record],
    *,
    window: np.ndarray,
    size: int,
    batch_size: int,
    name: str,
    mesh: Mesh,
    of_own_class: bool = False,
    folder: Path | None = None,
) -> Prediction | None:
    """Return the predictions for photos, numpy arrays of n rows in the order of the records, in the first process.

    The devices have two batches to work on while the results of a third come back, also those of other processes. Of
    these, each takes part in the work of the devices, keeps nothing and returns None.

    Args:
        method: the trained method.
        variables: its parameters and batch statistics.
        dataset: reads the pixels.
        records: n photos.
        window: [4], the part of each photo that the network sees, normalised xyxy.
        size: side of the network's input, pixels.
        batch_size: over all devices.
        name: of the progress bar.
        mesh: the devices.
        of_own_class: maps are those of the photos' labels, where they have one, and not of the most probable classes.
        folder: of the files of large arrays, see `arrays.scratch`.

    Raises:
        InputError: a prediction is not finite.
    """
    batches = devices.prefetch(batches_of(dataset, records, window, size, batch_size, mesh), mesh)
    variables = devices.replicate(variables, mesh)
    begun = devices.ahead(
        devices.gather((batch.index, predict_batch(method.predict, mesh, of_own_class, variables, batch)), mesh)
        for batch in batches
    )
    starts = range(0, len(records), batch_size)
    whole = None
    for start, (index, prediction) in zip(track(starts, len(records), name, weight=batch_size), begun, strict=True):
        expected = range(start, min(start + batch_size, len(records)))
        devices.require_order(index, expected)
        if not processes.is_first():
            continue
        piece = jax.tree.map(lambda array: devices.fetch(array)[: len(expected)], prediction)  # noqa: B023
        require_finite(piece, [records[i] for i in expected], name)
        if whole is None:
            whole = jax.tree.map(lambda array: scratch(folder, (len(records), *array.shape[1:]), array.dtype), piece)
        for array, part in zip(jax.tree.leaves(whole), jax.tree.leaves(piece), strict=True):
            array[expected.start : expected.stop] = part
    return whole


def require_finite(prediction: Prediction, records: Sequence[Record], name: str) -> None:
    """Raise InputError if a number of a prediction is NaN or infinite.

    Args:
        prediction: numpy arrays of n rows.
        records: n photos.
        name: of the network, for the error.
    """
    for field, array in prediction._asdict().items():
        if array is not None and not np.isfinite(array).all():
            bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
            raise InputError(
                f"{name}: the {field} of {records[int(bad.argmax())].path} is NaN or infinite; expected numbers: the "
                "network has diverged, train it with a lower learning_rate (nothing of it is written)"
            )


def batches_of(
    dataset: Dataset, records: Sequence[Record], window: np.ndarray, size: int, batch_size: int, mesh: Mesh
) -> Iterator[Batch]:
    """Return an iterator over this process's share of the batches of records, the last one padded.

    Args:
        dataset: reads the pixels.
        records: n photos.
        window: [4], the part of each photo that the network sees, normalised xyxy.
        size: side of the network's input, pixels.
        batch_size: over all devices.
        mesh: the devices.
    """
    rows = devices.local_slice(batch_size, mesh)
    views = plan.evaluation_views(np.arange(len(records)), window, batch_size, rows)
    return render(dataset.read, records, views, size, rows.stop - rows.start)


@partial(jax.jit, static_argnums=(0, 1, 2))
def predict_batch(
    predict: Callable[[Variables, Batch, jax.Array | None], Prediction],
    mesh: Mesh,
    of_own_class: bool,
    variables: Variables,
    batch: Batch,
) -> Prediction:
    """Return a method's prediction for a batch that is spread over the devices; compiled once for each method.

    Args:
        predict: of the method.
        mesh: the devices.
        of_own_class: see `predict_photos`.
        variables: on every device.
        batch: spread over the devices.
    """
    with devices.across(mesh):
        return predict(variables, batch, batch.label if of_own_class else None)
