"""From views to batches: tf.data reads, crops and resizes the photos, many at once and in order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.plan import View
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError

OVERSAMPLED = 2  # pixels of a photo for each of the result, along a side, that decoding keeps at least
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


def cut(photo: np.ndarray, window: np.ndarray, size: int, flip: bool = False) -> np.ndarray:
    """Return a part of a photo, resized and perhaps mirrored, uint8 [size, size, 3].

    The resizing is Pillow's antialiased bilinear, which both published code bases use.

    Args:
        photo: uint8 [h, w, 3].
        window: [4], the part, normalised xyxy.
        size: side of the result, pixels.
        flip: whether it is mirrored left to right.
    """
    h, w = photo.shape[:2]
    area = tuple(np.clip(window * (w, h, w, h), 0, (w, h, w, h)))
    image = np.asarray(Image.fromarray(photo).resize((size, size), Image.Resampling.BILINEAR, box=area))
    return image[:, ::-1] if flip else image


def render(
    read: Callable[[Record], np.ndarray],
    records: Sequence[Record],
    views: Iterable[View],
    size: int,
    batch_size: int,
    target: Callable[[View], np.ndarray] | None = None,
) -> Iterator[Batch]:
    """Return an iterator over the batches of the views, in their order, without a last incomplete batch.

    Views that must all be seen need padding to whole batches.

    Args:
        read: record -> uint8 [h, w, 3].
        records: indexed by the views.
        views: of any number, also endless.
        size: side of the square images, pixels.
        batch_size: of this process.
        target: view -> float [4], the box to learn, see `Batch`; None where no box is learned.

    Raises:
        InputError: while iterating, for the first photo that has become unreadable.
    """
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")

    def rows() -> Iterator[tuple]:
        for view in views:
            box = np.zeros(4) if target is None else target(view)
            yield view.index, view.window, view.flip, records[view.index].label, box, view.valid

    def decode(record: Record, window: np.ndarray) -> np.ndarray:
        if not isinstance(read, PhotoFiles):
            return read(record)
        shown = window[2:] - window[:2]
        return read.at_least(record, tuple(OVERSAMPLED * size / np.maximum(shown, TINY)))

    unreadable: list[InputError] = []  # kept here, as tf.data turns an error into many lines of its own

    def draw(index: np.ndarray, window: np.ndarray, flip: np.ndarray) -> np.ndarray:
        try:
            return cut(decode(records[index], window), window, size, bool(flip))
        except InputError as error:
            unreadable.append(error)
            return np.zeros((size, size, 3), np.uint8)

    def read_row(
        index: tf.Tensor, window: tf.Tensor, flip: tf.Tensor, label: tf.Tensor, box: tf.Tensor, valid: tf.Tensor
    ) -> Batch:
        image = tf.numpy_function(draw, [index, window, flip], tf.uint8, stateful=False)
        image.set_shape([size, size, 3])
        box, window = tf.cast(box, tf.float32), tf.cast(window, tf.float32)
        return Batch(image, window, flip, label, box, index, valid)

    kinds = [(tf.int32, ()), (tf.float64, (4,)), (tf.bool, ()), (tf.int32, ()), (tf.float64, (4,)), (tf.bool, ())]
    stream = tf.data.Dataset.from_generator(rows, output_signature=tuple(tf.TensorSpec(s, k) for k, s in kinds))
    stream = stream.map(read_row, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    stream = stream.batch(batch_size, drop_remainder=True).prefetch(2)

    def batches() -> Iterator[Batch]:
        for batch in stream.as_numpy_iterator():
            if unreadable:
                raise unreadable[0]
            yield batch

    return batches()
