"""The plan of the batches: which photo, which part of it, mirrored or not; with numpy alone, before a photo is read.

Training reads one endless stream of positions, the concatenated permutations of each epoch; what happens at a position
depends on the seed and the position alone, so batches are the same on any number of devices, and after a restart.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from wsol_jax import boxes

WHOLE = np.array([0.0, 0.0, 1.0, 1.0])
CROP_SCALE = (0.2, 1.0)
CROP_ASPECT = (3 / 4, 4 / 3)
LOG_ASPECT = tuple(np.log(CROP_ASPECT).tolist())
CROP_ATTEMPTS = 30


class View(NamedTuple):
    """The part of a photo that the network sees; or those of a batch, arrays with one row for each photo.

    Attributes:
        index: of the record.
        window: float64 [4], the visible part, normalised xyxy in the original frame.
        flip: whether it is mirrored left to right, after cropping.
        valid: False for the padding of a last batch.
    """

    index: int
    window: np.ndarray
    flip: bool
    valid: bool


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    return _stream(np.uint64(seed), epoch).permutation(count)


def _stream(seed: np.uint64, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))


def _streams(seed: np.uint64) -> Callable[[int], np.random.Generator]:
    """Return number -> its `_stream`; it is one object that starts anew, which takes less time than to make another."""
    bits = np.random.Philox(key=np.array([seed, 0], np.uint64))
    rng, start = np.random.Generator(bits), bits.state

    def at(number: int) -> np.random.Generator:
        start["state"]["key"][1] = number
        bits.state = start
        return rng

    return at


def index_at(seed: int, position: int, count: int) -> int:
    """Return the index of the record that training reads at `position`, of `count` records shuffled anew each epoch."""
    return int(_epoch_order(seed, position // count, count)[position % count])


def training_view(rng: np.random.Generator, index: int, size: tuple[int, int], box: np.ndarray) -> View:
    """Return a random crop of record `index` that meets `box`, mirrored half of the time (PSOL).

    Args:
        rng: draws the crop.
        index: of the record.
        size: its width and height in pixels.
        box: [4], see `pixel_box`; that of `WHOLE` where there is none to meet.
    """
    crop = random_crop(rng, size, box)
    return View(index, crop / (*size, *size), bool(rng.random() < 0.5), True)


def resized_view(rng: np.random.Generator, index: int, size: int, resized: int) -> View:
    """Return a random square of a photo squashed to a larger square, mirrored half of the time.

    The augmentation of wsolevaluation and DA-WSOL: Resize(256), RandomCrop(224), RandomHorizontalFlip.

    Args:
        rng: draws the square.
        index: of the record.
        size: side of the visible square, pixels.
        resized: side of the squashed photo, pixels.
    """
    corner = rng.integers(0, resized - size + 1, 2)
    return View(index, np.concatenate([corner, corner + size]) / resized, bool(rng.random() < 0.5), True)


def training_views(
    seed: int,
    sizes: Sequence[tuple[int, int]],
    boxes_to_meet: np.ndarray,
    augment: str,
    square: tuple[int, int],
    positions: Iterable[int],
) -> Iterator[View]:
    """Yield the view of training at each of `positions`.

    Args:
        seed: of the run.
        sizes: width and height of every record, pixels.
        boxes_to_meet: [n, 4], normalised xyxy; `WHOLE` for records without one.
        augment: 'psol': a random crop that meets the box; 'wsol': a random square of the squashed photo; both mirrored
            half of the time; 'none': the whole photo.
        square: sides of the network's input and of the squashed photo it may be cut from, pixels.
        positions: of the endless stream.
    """
    stream_at = _streams(~np.uint64(seed))  # its complement: [seed, epoch] is the key of an epoch's order
    pixels = pixel_box(boxes_to_meet, np.array(sizes)) if augment == "psol" else boxes_to_meet
    for position in positions:
        index = index_at(seed, position, len(sizes))
        if augment == "psol":
            yield training_view(stream_at(position), index, sizes[index], pixels[index])
        elif augment == "wsol":
            yield resized_view(stream_at(position), index, *square)
        else:
            yield View(index, WHOLE, False, True)


def training_positions(start_step: int, stop_step: int, batch_size: int, rows: slice) -> Iterator[int]:
    """Yield the positions of the rows `rows` of each global batch: step t reads tB to (t + 1)B.

    Args:
        start_step: the first step.
        stop_step: the step after the last one.
        batch_size: B, over all processes.
        rows: of each global batch, those of this process.
    """
    for step in range(start_step, stop_step):
        yield from range(step * batch_size + rows.start, step * batch_size + rows.stop)


def evaluation_views(indices: Sequence[int], window: np.ndarray, batch_size: int, rows: slice) -> Iterator[View]:
    """Yield a view of each record once, in the given order; invalid views pad the last batch.

    Args:
        indices: of the records, at least one.
        window: [4], the visible part of every photo, normalised xyxy.
        batch_size: over all processes.
        rows: of each global batch, those of this process.
    """
    for start in range(0, len(indices), batch_size):
        for at in range(start + rows.start, start + rows.stop):
            valid = at < len(indices)
            yield View(int(indices[at]) if valid else int(indices[0]), window, False, valid)


def pixel_box(box: np.ndarray, size: tuple[int, int] | np.ndarray) -> np.ndarray:
    """Return normalised boxes [..., 4] in whole pixels of a photo of `size`, every edge rounded up (PSOL's code)."""
    pixels = boxes.scale(box, np.array(size))
    return np.ceil(np.round(pixels, 6))  # whole pixels stay whole: 7 / 25 * 25 is a little more than 7


def random_crop(rng: np.random.Generator, size: tuple[int, int], box: np.ndarray) -> np.ndarray:
    """Return a random crop of 20 to 100 % of the area that meets a box, pixels xyxy [4]: PSOL's RandomResizedBBoxCrop.

    After 30 attempts it is the central crop with its aspect clipped to [3/4, 4/3], which may miss the box.

    Args:
        rng: draws the crop.
        size: width and height of the photo, pixels.
        box: [4], pixels xyxy.
    """
    width, height = size
    left, top, right, bottom = box.tolist()
    for _ in range(CROP_ATTEMPTS):
        area = rng.uniform(*CROP_SCALE) * width * height
        aspect = math.exp(rng.uniform(*LOG_ASPECT))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if not (0 < w <= width and 0 < h <= height):
            continue
        y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        if min(x + w, right) > max(x, left) and min(y + h, bottom) > max(y, top):
            return np.array([x, y, x + w, y + h], float)
    return central_crop(size)


def central_crop(size: tuple[int, int]) -> np.ndarray:
    """Return the largest central crop with an aspect in [3/4, 4/3], pixels xyxy [4]: torchvision's fallback.

    Args:
        size: width and height of the photo, pixels.
    """
    width, height = size
    low, high = CROP_ASPECT
    w, h = width, height
    if width / height < low:
        h = round(width / low)
    elif width / height > high:
        w = round(height * high)
    x, y = (width - w) // 2, (height - h) // 2
    return np.array([x, y, x + w, y + h], float)


def target_box(box: np.ndarray, size: tuple[int, int] | np.ndarray, view: View) -> np.ndarray:
    """Return the box that PSOL's localizer learns: rounded up to pixels, cut to the crop, in its frame, mirrored.

    Args:
        box: [..., 4], normalised xyxy in the original frame.
        size: [..., 2], width and height of the original, pixels.
        view: the crop, of one photo or of a batch; where it misses the box the result is inverted, as in the published
            code.

    Returns:
        float64 [..., 4], normalised xyxy in the frame of the network's input.
    """
    crop = boxes.scale(view.window, np.array(size))
    pixels = pixel_box(box, size)
    cut = np.concatenate(
        [np.maximum(pixels[..., :2], crop[..., :2]), np.minimum(pixels[..., 2:], crop[..., 2:])], axis=-1
    )
    return boxes.mirror(boxes.into_window(cut, crop), np.array(view.flip))


def test_window(geometry: str, crop: float) -> np.ndarray:
    """Return the part of a photo that the network sees in evaluation.

    Args:
        geometry: 'center_crop': PSOL's squashing Resize and CenterCrop; 'resize': all of it.
        crop: side of the centre crop over the side it is cut from, e.g. 224 / 256.

    Returns:
        float64 [4], normalised xyxy in the original frame.
    """
    margin = (1 - crop) / 2 if geometry == "center_crop" else 0.0
    return np.array([margin, margin, 1 - margin, 1 - margin])
