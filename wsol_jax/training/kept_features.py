"""Features of a fixed number of views of each photo, computed once and kept on disk, to train a head on them.

The file is a memory map: the operating system keeps it in memory as far as there is room. A run that was cut off
continues after the last whole batch. That of a remote run is a file without a name in the temporary folder of each
process's machine, and is computed anew when the run continues.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh
from numpy.lib.format import open_memmap

from wsol_jax import devices, processes
from wsol_jax.data import plan
from wsol_jax.data.kept_views import kept_views
from wsol_jax.data.records import Record
from wsol_jax.data.render import Batch, render
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.paths import RemotePath
from wsol_jax.progress import track

Features = Callable[[jax.Array], jax.Array]
"""uint8 images [b, size, size, 3] -> float [b, h, w, d], both spread over the devices."""


class Kept(NamedTuple):
    """Features of `views` views of each of n photos.

    Attributes:
        features: float16 [n views, h, w, d], a memory map; row i views + v is view v of photo i.
        views: of each photo.
    """

    features: np.ndarray
    views: int


def keep_features(
    file: Path,
    compute: Features,
    read: Callable[[Record], np.ndarray],
    records: Sequence[Record],
    *,
    views: int,
    size: int,
    batch_size: int,
    seed: int,
    mesh: Mesh,
) -> Kept:
    """Return the features of some views of each photo, computed now except for rows that are in the file already.

    Args:
        file: of the features; a text file of the same name with the suffix .rows counts the rows that are done.
        compute: the frozen network.
        read: record -> its pixels.
        records: n photos.
        views: of each photo, see `kept_views`.
        size: side of the network's input, pixels.
        batch_size: over all devices.
        seed: of the random crops.
        mesh: the devices.

    Raises:
        InputError: the disk has too little room; raised before the first photo.
    """
    shape = features_shape(compute, batch_size, size, len(records) * views)
    count_file, is_remote = file.with_suffix(".rows"), isinstance(file, RemotePath)
    done = 0
    if not is_remote:
        done = processes.from_first(lambda: _rows_done(file, count_file, shape))
    if not is_remote and processes.is_first() and not done:
        count_file.unlink(missing_ok=True)  # of another file, before that one is replaced
    kept = _open(file, shape, done) if is_remote or processes.is_first() else None
    planned = list(kept_views(seed, range(len(records)), views))[done:]
    rows = devices.local_slice(batch_size, mesh)
    padded = _in_batches(planned, batch_size, rows)
    batches = devices.prefetch(render(read, records, padded, size, rows.stop - rows.start), mesh)
    begun = devices.ahead(devices.gather((batch.index, compute(batch.image)), mesh) for batch in batches)
    starts = range(done, shape[0], batch_size)
    for start, (index, features) in zip(
        track(starts, len(planned), "features", "views", batch_size), begun, strict=True
    ):
        stop = min(start + batch_size, shape[0])
        devices.require_order(index, [view.index for view in planned[start - done : stop - done]])
        if kept is not None:
            kept[start:stop] = devices.fetch(features)[: stop - start]
            kept.flush()
        if not is_remote:
            write_atomically(count_file, lambda out, stop=stop: out.write(str(stop).encode()))
    processes.wait_for_first()
    return Kept(kept if is_remote else open_memmap(file, "r"), views)


def features_shape(compute: Features, batch_size: int, size: int, count: int) -> tuple[int, ...]:
    """Return the shape [count, h, w, d] of the features of `count` views.

    Args:
        compute: the frozen network.
        batch_size: over all devices.
        size: side of its input, pixels.
        count: of views of all photos.
    """
    image = jax.ShapeDtypeStruct((batch_size, size, size, 3), jnp.uint8)
    return (count, *jax.eval_shape(compute, image).shape[1:])


def _rows_done(file: Path, count_file: Path, shape: tuple[int, ...]) -> int:
    """The rows that are done already; 0 where there is no file, or it is one of other photos."""
    is_kept = file.exists() and count_file.exists() and open_memmap(file, "r").shape == shape
    return int(count_file.read_text()) if is_kept else 0


def _open(file: Path, shape: tuple[int, ...], done: int) -> np.ndarray:
    """The file for writing: the one whose rows are `done` in part, or a new one where the disk has room for it."""
    if isinstance(file, RemotePath):
        with tempfile.NamedTemporaryFile() as unnamed:  # what is mapped stays, and is gone with the process
            return _open(Path(unnamed.name), shape, 0)
    if not done:
        _require_room(file, int(np.prod(shape)) * np.dtype(np.float16).itemsize)
    return open_memmap(file, "r+" if done else "w+", dtype=np.float16, shape=shape)


def _require_room(file: Path, needed: int) -> None:
    """Raise InputError unless the disk has room for a file of `needed` bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(file.parent).free
    logging.info("%s: %.2f GB of features will be kept", file, needed / 1e9)
    if needed > free:
        raise InputError(f"{file}: the features need {needed / 1e9:.2f} GB; the disk has {free / 1e9:.2f} GB left")


def _in_batches(views: Sequence[plan.View], batch_size: int, rows: slice) -> Iterator[plan.View]:
    """This process's rows of each batch, the last one padded with its first view."""
    for start in range(0, len(views), batch_size):
        for at in range(start + rows.start, start + rows.stop):
            yield views[at] if at < len(views) else views[start]._replace(valid=False)


def feature_batches(
    kept: Kept, records: Sequence[Record], target: np.ndarray, *, batch_size: int, seed: int, steps: range, mesh: Mesh
) -> Iterator[Batch]:
    """Yield this process's share of the batches of `steps`, whose images are kept features.

    An epoch is every view of every photo once, in an order that depends on seed and epoch alone.

    Args:
        kept: the features.
        records: their n photos.
        target: float32 [n views, ...], what to learn of each view, in the order of the features.
        batch_size: over all devices.
        seed: of the run.
        steps: consecutive steps.
        mesh: the devices.
    """
    views = list(kept_views(seed, range(len(records)), kept.views))
    index = np.array([view.index for view in views], np.int32)
    whole = Batch(
        image=kept.features,
        window=np.array([view.window for view in views], np.float32),
        flip=np.array([view.flip for view in views]),
        label=np.array([records[i].label for i in index], np.int32),
        target=target,
        index=index,
        valid=np.ones(len(views), bool),
    )
    rows = devices.local_slice(batch_size, mesh)
    for step in steps:
        positions = plan.training_positions(step, step + 1, batch_size, rows)
        order = [plan.index_at(seed, position, len(views)) for position in positions]
        yield Batch(*(values[order] for values in whole))
