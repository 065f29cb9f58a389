"""What wsolevaluation takes for a score map, and the ways there: resizing, stretching, reading, quantising."""

from pathlib import Path

import cv2
import numpy as np

from wsol_jax.errors import InputError

STEP = 0.001  # between thresholds, wsolevaluation's main.py; its evaluation.py takes 0.01


def thresholds(step: float = STEP) -> np.ndarray:
    """The thresholds 0, step, ... below 1 that wsolevaluation tries, float64 [k]."""
    return np.arange(0, 1, step)


def score_map(activation: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A class activation map as a score map: cubic upsampling, then stretched to [0, 1], as wsolevaluation does it.

    Args:
        activation: [h, w], any range.
        size: width and height of the score map, pixels; 224 x 224 as published.

    Returns:
        float64 [height, width] with minimum 0 and maximum 1; zeros if it is constant or has a NaN.
    """
    resized = cv2.resize(np.asarray(activation, np.float64), size, interpolation=cv2.INTER_CUBIC)
    if np.isnan(resized).any() or resized.min() == resized.max():
        return np.zeros_like(resized)
    resized -= resized.min()
    return resized / resized.max()


def checked(name: str, score_map: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """The score map as float64, which it has to be for its digits to be the published ones.

    Args:
        name: whose map it is, for the error.
        score_map: [h, w], floats.
        size: the width and height it has to have; None if any will do.

    Raises:
        InputError: it has other axes, another size or no pixels, is not of floats, or not all in [0, 1].
    """
    if score_map.ndim != 2 or score_map.size == 0 or score_map.dtype.kind != "f":
        found = f"{score_map.dtype} {list(score_map.shape)}"
        raise InputError(f"score map of {name}: it is {found}, expected floats [height, width]")
    if size is not None and score_map.shape != size[::-1]:
        found = " x ".join(map(str, score_map.shape[::-1]))
        raise InputError(f"score map of {name}: it is {found} pixels wide and high, expected {size[0]} x {size[1]}")
    low, high = score_map.min(), score_map.max()
    if not (low >= 0 and high <= 1):
        found = "it has NaN" if np.isnan(low) else f"it ranges from {low:g} to {high:g}"
        raise InputError(f"score map of {name}: {found}, expected values in [0, 1]")
    return np.asarray(score_map, np.float64)


def quantise(score_map: np.ndarray) -> np.ndarray:
    """floor(255 m) of a float64 map in [0, 1], uint8: the image that wsolevaluation thresholds."""
    return (score_map * 255).astype(np.uint8)


def read(folder: Path, image: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """The score map of a photo from FOLDER/IMAGE.npy, the layout that wsolevaluation reads too.

    Args:
        folder: of the maps.
        image: the photo's path relative to the dataset's root, with its extension.
        size: the width and height the map has to have; None if any will do.

    Returns:
        float64 [h, w] in [0, 1].

    Raises:
        InputError: the file is missing, no .npy of plain numbers, outside the folder, or not a score map.
    """
    path = folder / f"{image}.npy"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"score map of {image}: it would be outside {folder}")
    try:
        values = np.load(path, allow_pickle=False)
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
