"""Devices and processes: meshes, shardings and transfers. No other file counts devices."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from wsol_jax.errors import InputError

Tree = TypeVar("Tree")


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """Return a mesh of all devices of all processes, or of those given, along one axis named `data`.

    The devices are in the order of their processes, so that process p holds the p-th part of a batch's rows.
    `jax.make_mesh` would order them by topology, in which the chips of a TPU host need not follow each other.
    """
    devices = jax.devices() if devices is None else devices
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(ordered), ("data",), axis_types=(AxisType.Auto,))


def sharded(mesh: Mesh) -> NamedSharding:
    """Return the sharding that spreads rows over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding that keeps the same values on every device."""
    return NamedSharding(mesh, PartitionSpec())


def local_slice(batch_size: int, mesh: Mesh) -> slice:
    """Return the rows of a global batch that this process reads.

    Raises:
        InputError: the devices cannot share the batch evenly.
        ValueError: the devices of this process do not follow each other in the mesh; see `make_mesh`.
    """
    if batch_size % mesh.size:
        raise InputError(f"batch_size {batch_size} is not divisible by the {mesh.size} devices")
    rows = sorted(
        index[0].indices(batch_size)[:2]
        for index in sharded(mesh).addressable_devices_indices_map((batch_size,)).values()
    )
    if any(stop != start for (_, stop), (start, _) in itertools.pairwise(rows)):
        raise ValueError(f"the devices of process {jax.process_index()} do not follow each other in {mesh}")
    return slice(rows[0][0], rows[-1][1])


def put(batch: Tree, mesh: Mesh) -> Tree:
    """Return a batch on the devices.

    Args:
        batch: a tree of host arrays, the rows of this process.
        mesh: the devices of all processes.

    Returns:
        The same tree of global arrays, their rows spread over all devices.
    """
    rows = sharded(mesh)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(rows, np.asarray(leaf)), batch)


def prefetch(batches: Iterable[Tree], mesh: Mesh, depth: int = 2) -> Iterator[Tree]:
    """Yield batches on the devices, with the transfer of the next `depth` under way."""
    return ahead((put(batch, mesh) for batch in batches), depth)


def ahead(items: Iterable[Tree], depth: int = 2) -> Iterator[Tree]:
    """Yield items, each once the `depth` after it are requested: what they begin on the devices is then under way."""
    waiting: deque[Tree] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > depth:
            yield waiting.popleft()
    yield from waiting


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Return a tree of host arrays, equal in every process, copied to every device."""
    return jax.tree.map(
        lambda leaf: jax.make_array_from_callback(np.shape(leaf), replicated(mesh), np.asarray(leaf).__getitem__), tree
    )


def per_shard(function: Callable[..., Any], rows: Sequence[Any], same: Sequence[Any]) -> Any:
    """Return function(*rows, *same), computed on every device for its own rows without communication.

    Args:
        function: of arrays, to arrays whose rows are those of `rows`.
        rows: trees of arrays that are spread over the devices.
        same: trees of arrays that are the same on all of them.

    Outside of `across`, `function` is called directly.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return function(*rows, *same)
    split, whole = PartitionSpec("data"), PartitionSpec()
    places = (*(split for _ in rows), *(whole for _ in same))
    return jax.shard_map(function, mesh=mesh, in_specs=places, out_specs=split, check_vma=False)(*rows, *same)


def across(mesh: Mesh) -> AbstractContextManager[None]:
    """Return a context in which `per_shard` calls of a function being traced are spread over the devices of `mesh`."""
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def gather(tree: Tree, mesh: Mesh) -> Tree:
    """Start to copy arrays, whose rows are on the devices of several processes, to all devices; return the copies.

    `fetch` then waits for nothing that the devices begin later. The arrays of a single process are returned as they
    are.

    Args:
        tree: of arrays.
        mesh: the devices of all processes.
    """
    return tree if jax.process_count() == 1 else _everywhere(tree, mesh)


@partial(jax.jit, static_argnums=1)
def _everywhere(tree: Tree, mesh: Mesh) -> Tree:
    return jax.lax.with_sharding_constraint(tree, replicated(mesh))


def fetch(array: jax.Array) -> np.ndarray:
    """Return a whole array on this host, wherever its rows are; one of `gather` is there as soon as it is computed."""
    return np.asarray(array if array.is_fully_replicated else multihost_utils.process_allgather(array, tiled=True))


def require_order(index: jax.Array, expected: Sequence[int]) -> None:
    """Raise ValueError unless the rows of a batch are those of the expected photos, in order.

    Args:
        index: int [b], of the photos that are on the devices, see `Batch`; their first rows are compared.
        expected: of the photos that their results are joined to.
    """
    rows = fetch(index)[: len(expected)]
    if not np.array_equal(rows, expected):
        raise ValueError(f"the rows of a batch are those of photos {rows.tolist()}; expected {list(expected)}")
