"""Photos of more than 8 bits: which level is black and which is white, the same for a whole dataset."""

import math
from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np
from absl import logging
from PIL import Image

from wsol_jax.data.frames import ORIENTATION, turned
from wsol_jax.data.records import Record

Levels = tuple[float, float]
"""The levels of black and white."""

WHOLE_16_BITS = (0.0, 65535.0)
INTEGERS, FLOATS = "integers", "floats"


def kind(image: Image.Image) -> str:
    """Return 'integers' or 'floats' for an opened image with samples of more than 8 bits, '' for any other."""
    if image.mode == "F":
        return FLOATS
    arguments = [tile[3] for tile in getattr(image, "tile", ())[:1]]
    raw = [each if isinstance(each, str) else each[0] for each in arguments if each]
    return INTEGERS if image.mode.startswith("I") or any(";16" in str(mode) for mode in raw) else ""


def samples(image: Image.Image) -> np.ndarray:
    """Return the samples of an opened image in their own depth, [h, w] or [h, w, c], as Pillow turns them.

    Raises:
        ValueError: it cannot be decoded.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return np.asarray(image)
    # Pillow cuts the samples of colours to 8 bits.
    image.fp.seek(0)
    pixels = cv2.imdecode(np.frombuffer(image.fp.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("its 16-bit colours cannot be decoded")
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    is_tiff = image.format == "TIFF"  # the one format that Pillow turns by itself
    return turned(pixels, image.tag_v2.get(ORIENTATION, 1)) if is_tiff else pixels


def extremes(image: Image.Image) -> tuple[float, float]:
    """Return the lowest and the highest finite sample of an opened image; opacity is none.

    Raises:
        ValueError: it cannot be decoded.
    """
    colours, _ = _without_opacity(samples(image))
    finite = colours[np.isfinite(colours)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def eight_bits(image: Image.Image, levels: Levels | None) -> Image.Image:
    """Return an opened image with samples of 8 bits, levels beyond black and white cut to them.

    Args:
        image: of any depth.
        levels: of black and white; None takes integers for 16 bits, and leaves floats as they are.

    Raises:
        ValueError: it cannot be decoded; without `levels`, a sample has more than 16 bits.
    """
    of_kind = kind(image)
    is_grey = image.mode == "F" or image.mode.startswith("I")
    if not of_kind or (levels is None and (of_kind == FLOATS or not is_grey)):
        return image
    if levels == WHOLE_16_BITS and not is_grey:
        return image  # Pillow's own conversion is this one
    (values, opacity), (black, white) = _without_opacity(samples(image)), levels or WHOLE_16_BITS
    if levels is None and (values.min() < 0 or values.max() > white):
        raise ValueError("grey levels of more than 16 bits")
    scaled = np.nan_to_num(values.astype(np.float64), nan=black, posinf=white, neginf=black) - black
    if of_kind == FLOATS:
        scaled = np.round(scaled * (255 / (white - black)))
    else:
        scaled = np.floor(scaled * (256 / (white - black + 1)))  # of 16 bits the high byte, as TensorFlow has it
    if opacity is not None:
        scaled = np.concatenate([scaled, opacity >> 8], axis=-1)
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))


def _without_opacity(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples [h, w] or [h, w, c], and the opacity uint16 [h, w, 1] of colours that have one, which is of 16 bits."""
    return (values[..., :3], values[..., 3:]) if values.ndim == 3 and values.shape[2] == 4 else (values, None)


def common_levels(low: float, high: float, of_kind: str) -> Levels:
    """Return the levels of black and white of photos whose samples are in [low, high].

    From 0 to 1 for floats in [0, 1], else from 0 to the largest level of the fewest bits, at least 8, that hold `high`;
    where samples are negative, from `low` to `high`.
    """
    if low < 0:
        return low, max(high, low + 1)
    if of_kind == FLOATS and high <= 1:
        return 0.0, 1.0
    return 0.0, float(2 ** max(8, int(np.floor(high)).bit_length()) - 1)


def are_levels(value: object) -> bool:
    """Return whether a value is two finite numbers, of black and white."""
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    return is_pair and all(isinstance(level, int | float) and math.isfinite(level) for level in value)


def levels_of_dataset(records: Iterable[Record], chosen: Levels) -> dict[str, Levels]:
    """Return kind -> the levels of black and white that hold for other photos too.

    Args:
        records: of a dataset.
        chosen: the levels of all kinds; where both are equal, those of the records hold for the kinds among them.
    """
    if chosen[0] != chosen[1]:
        return dict.fromkeys((INTEGERS, FLOATS), chosen)
    return {record.depth: record.levels for record in records if record.depth}


def levels_of(
    kinds: Sequence[str], ranges_of: Callable[[Sequence[int]], np.ndarray], chosen: Levels
) -> dict[str, Levels]:
    """Return kind -> the levels of black and white of the dataset's photos of that kind, and log them.

    Args:
        kinds: of n photos, '' for those of 8 bits.
        ranges_of: positions of m photos -> the lowest and the highest sample of each, float64 [m, 2], NaN for one that
            cannot be decoded.
        chosen: the levels of all kinds; where both are equal, those of the photos' ranges.
    """
    present = sorted({each for each in kinds if each})
    if chosen[0] != chosen[1]:
        return dict.fromkeys(present, chosen)
    found = {}
    for of_kind in present:
        positions = [position for position, each in enumerate(kinds) if each == of_kind]
        ranges = ranges_of(positions)
        ranges = ranges[~np.isnan(ranges[:, 0])]
        low, high = (float(ranges[:, 0].min()), float(ranges[:, 1].max())) if len(ranges) else (0.0, 255.0)
        found[of_kind] = common_levels(low, high, of_kind)
        logging.warning(
            "%d photos have %s of more than 8 bits, from %g to %g; black is %g and white is %g in all of them; "
            "--config.data.levels=%g,%g keeps that whatever photos are added, or give others",
            *(len(positions), of_kind, low, high, *found[of_kind], *found[of_kind]),
        )
    return found
