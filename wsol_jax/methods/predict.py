"""A method's predictions for every photo of a split, in the order of its records."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh

from wsol_jax.data import plan
from wsol_jax.data.records import Dataset, Record
from wsol_jax.data.render import Batch, render
from wsol_jax.methods.method import Method, Prediction, Variables
from wsol_jax.progress import track
from wsol_jax.training import devices


def predict_photos(
    method: Method,
    variables: Variables,
    dataset: Dataset,
    records: Sequence[Record],
    window: np.ndarray,
    size: int,
    batch_size: int,
    what: str,
    mesh: Mesh,
    of_own_class: bool = False,
) -> Prediction:
    """Runs a trained method over records.

    Args:
        method: what predicts.
        variables: its parameters and batch statistics.
        dataset: gives the pixels.
        records: n photos.
        window: [4], the part of each photo that is seen, normalised xyxy.
        size: side of the network's input, pixels.
        batch_size: over all devices.
        what: a name for the progress.
        mesh: the devices.
        of_own_class: whether maps are to be those of the photos' labels, not of the likeliest classes.

    Returns:
        A Prediction whose arrays are numpy and hold n rows.
    """
    batches = devices.prefetch(batches_of(dataset, records, window, size, batch_size, mesh), mesh)
    variables = devices.replicate(variables, mesh)
    starts = range(0, len(records), batch_size)
    pieces = []
    for start, batch in zip(track(starts, len(records), what, weight=batch_size), batches, strict=True):
        count = min(batch_size, len(records) - start)
        found = predict_batch(method.predict, mesh, of_own_class, variables, batch)
        pieces.append(jax.tree.map(lambda array: devices.fetch(array)[:count], found))  # noqa: B023
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *pieces)


def batches_of(
    dataset: Dataset, records: Sequence[Record], window: np.ndarray, size: int, batch_size: int, mesh: Mesh
) -> Iterator[Batch]:
    """This process's share of the batches of n records, the last one padded; the arguments are `predict_photos`'."""
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
    """A method's `predict` of a batch that is spread over the devices, compiled once for each method."""
    with devices.across(mesh):
        return predict(variables, batch, batch.label if of_own_class else None)
