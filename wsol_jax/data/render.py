"""From views to batches: threads read, crop and resize the photos, and tf.data hands on whole batches, in order.

Decoding and resizing leave Python's lock. All that holds it is kept small: one task is a part of a batch, whose photos
are drawn straight into the batch's array, and TensorFlow sees one element a batch, whose memory it takes over.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image

from wsol_jax import devices
from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.plan import View
from wsol_jax.data.records import Record
from wsol_jax.threads import cores

OVERSAMPLED = 2  # pixels of a photo for each of the result, along a side, that decoding keeps at least
BATCHES_AHEAD = 3  # that are read while one is used
ALIGNMENT = 64  # bytes
TINY = 1e-3  # of a photo's side: the narrowest window that the size to decode is computed for


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


def cut(photo: np.ndarray | Image.Image, window: np.ndarray, size: int, flip: bool = False) -> np.ndarray:
    """Return a part of a photo, resized and perhaps mirrored, uint8 [size, size, 3].

    The resizing is Pillow's antialiased bilinear, which both published code bases use.

    Args:
        photo: uint8 [h, w, 3], or Pillow's image of mode RGB.
        window: [4], the part, normalised xyxy.
        size: side of the result, pixels.
        flip: whether it is mirrored left to right.
    """
    whole = photo if isinstance(photo, Image.Image) else Image.fromarray(photo)
    w, h = whole.size
    area = tuple(min(max(edge * side, 0.0), side) for edge, side in zip(window.tolist(), (w, h, w, h), strict=True))
    pixels = _pixels(whole.resize((size, size), Image.Resampling.BILINEAR, box=area))
    return cv2.flip(pixels, 1) if flip else pixels


def _pixels(image: Image.Image) -> np.ndarray:
    """The pixels of an image of mode RGB, uint8 [h, w, 3]; numpy would have Pillow copy them under Python's lock."""
    try:
        stored = pa.array(image).values.to_numpy()  # Pillow's own memory, four bytes for each pixel
    except ValueError:  # an image of more than 16 MB is in several pieces
        return np.asarray(image)
    return cv2.cvtColor(stored.reshape(image.height, image.width, 4), cv2.COLOR_RGBA2RGB)


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

    def draw(image: np.ndarray, views: Sequence[View]) -> None:
        for row, view in zip(image, views, strict=True):
            row[:] = cut(_photo(read, records[view.index], view.window, size), view.window, size, bool(view.flip))

    def drawn() -> Iterator[Batch]:
        threads = cores()
        pool, rows = ThreadPoolExecutor(threads, "render"), -(-batch_size // threads)

        def begun() -> Iterator[tuple[Batch, list[Future]]]:
            planned = iter(views)
            while len(some := list(islice(planned, batch_size))) == batch_size:
                batch = _blank(some, records, size, target)
                parts = [slice(start, start + rows) for start in range(0, batch_size, rows)]
                yield batch, [pool.submit(draw, batch.image[part], some[part]) for part in parts]

        try:
            for batch, parts in devices.ahead(begun(), BATCHES_AHEAD):
                for part in parts:
                    part.result()
                yield batch
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    return _through_tf_data(drawn())


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


def _photo(
    read: Callable[[Record], np.ndarray], record: Record, window: np.ndarray, size: int
) -> np.ndarray | Image.Image:
    """The photo, or a smaller one that is enough for its window to be shown at `size`."""
    if not isinstance(read, PhotoFiles):
        return read(record)
    width, height = (window[2:] - window[:2]).tolist()
    return read.at_least(record, (OVERSAMPLED * size / max(width, TINY), OVERSAMPLED * size / max(height, TINY)))


def _blank(
    views: Sequence[View], records: Sequence[Record], size: int, target: Callable[[View], np.ndarray] | None
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
        label=np.array([records[view.index].label for view in views], np.int32),
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
