"""The only file that knows how many devices there are, and in how many processes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """All devices of all processes (or those given) along one axis, `data`."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def sharded(mesh: Mesh) -> NamedSharding:
    """Rows spread over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(mesh, PartitionSpec())


def local_slice(batch_size: int, mesh: Mesh) -> slice:
    """The rows of a global batch that this process reads.

    Raises:
        InputError: if the devices cannot share the batch evenly.
    """
    if batch_size % mesh.size:
        raise InputError(f"batch_size {batch_size} is not divisible by the {mesh.size} devices")
    rows = batch_size // jax.process_count()
    return slice(jax.process_index() * rows, (jax.process_index() + 1) * rows)


def put(batch: Batch, mesh: Mesh) -> Batch:
    """This process's rows of a batch, as arrays spread over all devices."""
    return Batch(*(jax.make_array_from_process_local_data(sharded(mesh), np.asarray(a)) for a in batch))


def prefetch(batches: Iterable[Batch], mesh: Mesh, depth: int = 2) -> Iterator[Batch]:
    """The batches on the devices, `depth` of them on the way while one is used."""
    waiting: deque[Batch] = deque()
    for batch in batches:
        waiting.append(put(batch, mesh))
        if len(waiting) > depth:
            yield waiting.popleft()
    yield from waiting


def replicate(tree: Any, mesh: Mesh) -> Any:
    """A tree of host arrays, the same in every process, on every device."""
    return jax.tree.map(
        lambda leaf: jax.make_array_from_callback(np.shape(leaf), replicated(mesh), np.asarray(leaf).__getitem__), tree
    )


def per_shard(function: Callable[..., Any], rows: Sequence[Any], same: Sequence[Any]) -> Any:
    """function(*rows, *same), on every device with its own rows and without talking to the others.

    Args:
        function: of arrays, to arrays whose rows are those of `rows`.
        rows: trees of arrays that are spread over the devices.
        same: trees of arrays that are the same on all of them.

    Outside of `across` it is called as it is.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return function(*rows, *same)
    split, whole = PartitionSpec("data"), PartitionSpec()
    places = (*(split for _ in rows), *(whole for _ in same))
    return jax.shard_map(function, mesh=mesh, in_specs=places, out_specs=split, check_vma=False)(*rows, *same)


def across(mesh: Mesh) -> AbstractContextManager[None]:
    """While a function is traced: what it does `per_shard` is spread over these devices."""
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def fetch(array: jax.Array) -> np.ndarray:
    """The whole of an array on this host, wherever its rows are."""
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
