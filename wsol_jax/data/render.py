"""From views to batches: threads or processes draw the photos, and tf.data hands on whole batches, in order.

Decoding and resizing leave Python's lock. All that holds it is kept small: one task is a part of a batch, whose photos
are drawn straight into the batch's array, and TensorFlow sees one element a batch, whose memory it takes over.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from wsol_jax import devices
from wsol_jax.data.drawing import draw
from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.plan import View
from wsol_jax.data.records import Record
from wsol_jax.data.workers import Draw, workers
from wsol_jax.threads import cores, for_files

BATCHES_AHEAD = 3  # that are read while one is used
ALIGNMENT = 64  # bytes


class Batch(NamedTuple):
    """The photos of a step; arrays are numpy on the host, jax on the devices.

    Attributes:
        image: uint8 [b, size, size, 3], RGB, cropped, resized and mirrored by its view.
        window: float32 [b, 4], the visible part of the original, normalised xyxy.
        flip: bool [b].
        label: int32 [b], 0-based.
        target: float32 [b, 4], the pseudo box in the frame of the window, normalised xyxy; or zeros.
        index: int32 [b], of the record.
        valid: bool [b], False for padding.
    """

    image: np.ndarray
    window: np.ndarray
    flip: np.ndarray
    label: np.ndarray
    target: np.ndarray
    index: np.ndarray
    valid: np.ndarray


END = Batch(*(np.zeros(0, kind) for kind in (np.uint8, np.float32, bool, np.int32, np.float32, np.int32, bool)))
"""What follows the last batch in tf.data."""


def render(
    read: Callable[[Record], np.ndarray],
    records: Sequence[Record],
    views: Iterable[View],
    size: int,
    batch_size: int,
    target: Callable[[View], np.ndarray] | None = None,
) -> Iterator[Batch]:
    """Yield the batches of the views, in their order, without a last incomplete batch.

    Views that must all be seen need padding to whole batches.

    Args:
        read: record -> uint8 [h, w, 3].
        records: indexed by the views.
        views: of any number, also endless.
        size: side of the square images, pixels.
        batch_size: of this process.
        target: views of a batch -> float [b, 4], the boxes to learn, see `Batch`; None where no box is learned.

    Raises:
        InputError: for the first photo that has become unreadable, in place of its batch.
    """

    def drawn() -> Iterator[Batch]:
        with _drawing(read) as (draw, threads):
            pool, rows = ThreadPoolExecutor(threads, "render"), -(-batch_size // threads)

            def begun() -> Iterator[tuple[Batch, list[Future]]]:
                planned = iter(views)
                while len(some := list(islice(planned, batch_size))) == batch_size:
                    shown = [records[view.index] for view in some]
                    batch = _blank(some, shown, size, target)
                    parts = [slice(start, start + rows) for start in range(0, batch_size, rows)]
                    yield batch, [pool.submit(draw, shown[part], some[part], batch.image[part]) for part in parts]

            try:
                for batch, parts in devices.ahead(begun(), BATCHES_AHEAD):
                    for part in parts:
                        part.result()
                    yield batch
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    return _through_tf_data(drawn())


@contextmanager
def _drawing(read: Callable[[Record], np.ndarray]) -> Iterator[tuple[Draw, int]]:
    """Yield the function that draws photos, and the number of threads that shall call it."""
    if isinstance(read, PhotoFiles) and read.workers:
        with workers(read, read.workers) as draw_elsewhere:
            yield draw_elsewhere, read.workers
    else:
        yield partial(draw, read), for_files(read.root) if isinstance(read, PhotoFiles) else cores()


def _through_tf_data(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches by way of tf.data.

    An error is raised in place of its batch, as it is: tf.data would turn it into many lines of its own. Its
    `from_generator` is not used: it has malloc give memory of 128 KiB or more back to Linux at once, in the whole
    process, so that the pages of each photo are cleared anew.
    """
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    errors: list[BaseException] = []

    def next_or_end(_: int) -> Batch:
        try:
            return next(batches, END)
        except BaseException as error:
            errors.append(error)
            return END

    kinds = [array.dtype for array in END]
    stream = tf.data.Dataset.counter().map(lambda number: tf.numpy_function(next_or_end, [number], kinds))
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # `batches` would still run when it is closed
    try:
        for arrays in stream.with_options(options).as_numpy_iterator():
            batch = Batch(*arrays)
            if not len(batch.valid):
                break
            yield batch
    finally:
        batches.close()
    if errors:
        raise errors[0]


def _blank(
    views: Sequence[View], shown: Sequence[Record], size: int, target: Callable[[View], np.ndarray] | None
) -> Batch:
    """A batch whose images are still to be drawn."""
    joined = View(
        index=np.array([view.index for view in views], np.int32),
        window=np.stack([view.window for view in views]),
        flip=np.array([view.flip for view in views], bool),
        valid=np.array([view.valid for view in views], bool),
    )
    boxes = np.zeros((len(views), 4)) if target is None else target(joined)
    return Batch(
        image=_aligned((len(views), size, size, 3)),
        window=joined.window.astype(np.float32),
        flip=joined.flip,
        label=np.array([record.label for record in shown], np.int32),
        target=boxes.astype(np.float32),
        index=joined.index,
        valid=joined.valid,
    )


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """An empty uint8 array that begins at a multiple of 64 bytes: TensorFlow copies any other, under Python's lock."""
    size = math.prod(shape)
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].reshape(shape)
