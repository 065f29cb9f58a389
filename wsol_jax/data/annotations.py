"""Annotations of photos in text files: their lines, numbers, and boxes in pixels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging

from wsol_jax.data.photos import UNREADABLE_SIZE
from wsol_jax.data.records import NO_BOXES
from wsol_jax.errors import InputError

# Real boxes reach over the edge: in CUB-200-2011, some by a pixel or two and one by 6 % of the photo's width.
_MOST_OUTSIDE = 0.1


def numbered_lines(path: Path) -> list[tuple[str, str]]:
    """Return the lines of a text file that are not empty, each as (where, text).

    Args:
        path: the file.

    Returns:
        `where` is 'FILE, line N', for error messages; `text` has no white space at its ends.

    Raises:
        InputError: the file does not exist or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
    lines = enumerate(text.split("\n"), start=1)
    return [(f"{path}, line {number}", line.strip()) for number, line in lines if line.strip()]


def numbered_names(path: Path, first: int) -> list[str]:
    """Return the names of a classes.txt, whose lines are `number name` with the numbers first, first + 1, ...

    Args:
        path: the file.
        first: the number of its first line.

    Raises:
        InputError: the file does not exist, or a line has another number.
    """
    names = []
    for where, line in numbered_lines(path):
        number, *name = line.split(maxsplit=1)
        if not name or number != str(first + len(names)):
            raise InputError(f"{where}: expected '{first + len(names)} NAME', got {line!r}")
        names.append(name[0])
    return names


def whole_number(text: str, where: str) -> int:
    """Return an integer that a file holds as text.

    Args:
        text: of the number.
        where: the file and line, for the error.

    Raises:
        InputError: it is not an integer.
    """
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{where}: {text!r} is not a whole number") from error


def numbers(texts: Sequence[str], where: str) -> list[float]:
    """Return the finite numbers of a line of a file.

    Args:
        texts: of the numbers.
        where: the file and line, for the error.

    Raises:
        InputError: one of them is not a finite number.
    """
    try:
        values = [float(text) for text in texts]
    except ValueError as error:
        raise InputError(f"{where}: expected numbers, got {' '.join(texts)!r}") from error
    if not np.isfinite(values).all():
        raise InputError(f"{where}: expected finite numbers, got {' '.join(texts)!r}")
    return values


def normalised_boxes(pixels: Sequence[Sequence[float]], size: tuple[int, int], name: str) -> np.ndarray:
    """Return the boxes of one photo, normalised as in a `Record`.

    A box that reaches over the edge is clipped to it. More than a pixel is logged; more than a tenth of the photo's
    width or height is an error, since the box is then probably in the pixels of another copy of the photo.

    Args:
        pixels: m boxes (x0, y0, x1, y1) in pixels of the upright photo, x1 and y1 exclusive.
        size: the photo's width and height; (0, 0), for an unreadable photo, gives no boxes.
        name: of the photo, for the error.

    Returns:
        float64 [m, 4], normalised xyxy.

    Raises:
        InputError: a box is empty or outside of the photo; the photo, the box and the photo's size are named.
    """
    if size == UNREADABLE_SIZE or not len(pixels):
        return NO_BOXES
    corners, limits = np.asarray(pixels, np.float64), np.array(size * 2, np.float64)
    outside = np.maximum(-corners, corners - limits)
    clipped = np.clip(corners, 0, limits)
    wrong = ~(clipped[:, 2:] > clipped[:, :2]).all(axis=1) | (outside > _MOST_OUTSIDE * limits + 1).any(axis=1)
    if wrong.any():
        box, (w, h) = corners[int(wrong.argmax())].tolist(), size
        raise InputError(
            f"{name}: box {box} (x0, y0, x1, y1) is empty or outside of the photo, which is {w} x {h} pixels"
        )
    if (outside > 1).any():
        logging.warning("%s: a box reaches %.1f pixels over the edge; clipped", name, outside.max())
    return clipped / limits
