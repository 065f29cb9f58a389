"""Score maps as wsolevaluation defines them: resizing, stretching, reading, checks, quantising."""

from pathlib import Path

import cv2
import numpy as np

from wsol_jax.errors import InputError
from wsol_jax.paths import StoreError, readable

STEP = 0.001  # between thresholds, wsolevaluation's main.py; its evaluation.py takes 0.01
ROUNDING = 1e-6  # how far the rounding of another program may lead out of [0, 1]


def thresholds(step: float = STEP) -> np.ndarray:
    """Return the thresholds of wsolevaluation: 0, step, ... below 1, float64 [k]."""
    return np.arange(0, 1, step)


def score_map(activation: np.ndarray, size: tuple[int, int], out: np.ndarray | None = None) -> np.ndarray:
    """Return a class activation map as a score map: cubic upsampling, then stretched to [0, 1], as in wsolevaluation.

    Args:
        activation: [h, w], any range.
        size: width and height of the score map, pixels; 224 x 224 as published.
        out: float64 [height, width], where the score map is written; None for new memory.

    Returns:
        float64 [height, width] with minimum 0 and maximum 1; zeros if it is constant or has a NaN.
    """
    resized = cv2.resize(np.asarray(activation, np.float64), size, dst=out, interpolation=cv2.INTER_CUBIC)
    low = resized.min()
    if np.isnan(low) or low == resized.max():
        resized[:] = 0
        return resized
    resized -= low
    resized /= resized.max()
    return resized


def checked(name: str, score_map: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return a score map as float64, in which the metrics are the published ones to the last digit.

    Values that leave [0, 1] by at most 1e-6, as rounding in another program does, are clipped.

    Args:
        name: of the photo, for the error.
        score_map: [h, w], floats.
        size: the width and height that it needs; None for any.

    Returns:
        float64 [h, w] in [0, 1].

    Raises:
        InputError: it has other axes, another size or no pixels, is not of floats, or leaves [0, 1] further.
    """
    if score_map.ndim != 2 or score_map.size == 0 or score_map.dtype.kind != "f":
        kind = f"{score_map.dtype} {list(score_map.shape)}"
        raise InputError(f"score map of {name}: it is {kind}, expected floats [height, width]")
    if size is not None and score_map.shape != size[::-1]:
        sides = " x ".join(map(str, score_map.shape[::-1]))
        raise InputError(f"score map of {name}: it is {sides} pixels wide and high, expected {size[0]} x {size[1]}")
    values = np.asarray(score_map, np.float64)
    low, high = values.min(), values.max()
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        problem = "it has NaN" if np.isnan(low) else f"it ranges from {low:.8g} to {high:.8g}"
        raise InputError(f"score map of {name}: {problem}, expected values in [0, 1]")
    return values.clip(0, 1)


def quantise(score_map: np.ndarray) -> np.ndarray:
    """Return floor(255 m) of a float64 map m in [0, 1], uint8 [h, w]: the image that wsolevaluation thresholds."""
    return (score_map * 255).astype(np.uint8)


def read(folder: Path, image: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return the score map of a photo from FOLDER/IMAGE.npy, the layout of wsolevaluation.

    Args:
        folder: of the maps.
        image: the photo's path relative to the dataset's root, with its extension.
        size: the width and height that the map needs; None for any.

    Returns:
        float64 [h, w] in [0, 1].

    Raises:
        InputError: the file is missing, not a .npy of plain numbers, outside of the folder, or not a score map.
    """
    path = folder / f"{image}.npy"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"score map of {image}: {path} is outside of {folder}")
    try:
        values = np.load(readable(path), allow_pickle=False)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"there is no map {path}; expected the score map of {image}") from error
    except StoreError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable .npy file; expected the score map of {image}") from error
    return checked(image, values, size)


def box_at(score_map: np.ndarray, threshold: float) -> np.ndarray:
    """Return the box of MaxBoxAcc: around the largest contour above a threshold, by OpenCV as published, without "+1".

    Args:
        score_map: float64 [h, w] in [0, 1].
        threshold: in [0, 1).

    Returns:
        float64 [4], normalised xyxy; zeros for a map of zeros.
    """
    image = quantise(score_map)
    above = (image > int(threshold * image.max())).astype(np.uint8)
    contours, _ = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros(4)
    x, y, w, h = cv2.boundingRect(max(contours, key=cv2.contourArea))
    return np.array([x, y, x + w, y + h]) / np.tile(image.shape[::-1], 2)
