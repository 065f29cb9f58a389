"""A fixed number of views of each photo, whose features are computed once: whole, mirrored, then random crops."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from wsol_jax import boxes
from wsol_jax.data.plan import WHOLE, View

CROP_AREA = (0.35, 1.0)  # of the photo's
CROP_ASPECT = (3 / 4, 4 / 3)  # relative to the photo's


def kept_view(seed: int, index: int, number: int) -> View:
    """Return view `number` of record `index`: 0 the whole photo, 1 its mirror image, from 2 on random crops.

    A crop has 35 to 100 % of the area and is mirrored half of the time; it depends on the arguments alone.

    Args:
        seed: of the run.
        index: of the record.
        number: of the view, from 0.
    """
    if number < 2:
        return View(index, WHOLE, number == 1, True)
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64), counter=number))
    while True:
        area, aspect = rng.uniform(*CROP_AREA), np.exp(rng.uniform(*np.log(CROP_ASPECT)))
        side = np.sqrt([area * aspect, area / aspect])
        if (side <= 1).all():
            corner = rng.uniform(0, 1 - side)
            return View(index, np.concatenate([corner, corner + side]), bool(rng.random() < 0.5), True)


def kept_views(seed: int, indices: Sequence[int], count: int) -> Iterator[View]:
    """Yield views 0 to `count` - 1 of each record of `indices` in turn."""
    for index in indices:
        for number in range(count):
            yield kept_view(seed, int(index), number)


def box_in_view(box: np.ndarray, view: View) -> np.ndarray:
    """Return a box of the photo as the network sees it: cut to the view's window, in its frame, mirrored.

    Args:
        box: [4], normalised xyxy in the frame of the photo.
        view: of that photo.

    Returns:
        float64 [4], normalised xyxy in the frame of the view; without area where the view misses the box.
    """
    return boxes.mirror(boxes.clip(boxes.into_window(box, view.window)), np.array(view.flip))


def mask_in_view(mask: np.ndarray, view: View, size: int) -> np.ndarray:
    """Return a mask of the photo as the network sees it: cut to the view's window, on other cells, mirrored.

    Args:
        mask: float32 [h, w] in [0, 1], of the whole photo.
        view: of that photo.
        size: cells a side.

    Returns:
        float32 [size, size], the mean of the mask in each cell.
    """
    h, w = mask.shape
    window = np.asarray(view.window, np.float64) * (w, h, w, h)
    cells = Image.fromarray(mask).resize((size, size), Image.Resampling.BOX, box=tuple(window.tolist()))
    return np.asarray(cells)[:, :: -1 if view.flip else 1]
