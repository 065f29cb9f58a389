"""Photos as a caller has them: paths, PIL images, arrays."""

from collections.abc import Mapping
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from wsol_jax.data import depth
from wsol_jax.data.headers import read_header
from wsol_jax.data.photos import pixels_of, read_photo
from wsol_jax.errors import InputError
from wsol_jax.paths import to_path

Photo = str | Path | Image.Image | np.ndarray
"""A file, an image, or uint8 [h, w, 3]."""


def is_one(photos: object) -> bool:
    """Return whether it is one photo, not several."""
    return isinstance(photos, str | PurePath | Image.Image) or (isinstance(photos, np.ndarray) and photos.ndim <= 3)


def pixels(photo: Photo, name: str, levels: Mapping[str, depth.Levels]) -> np.ndarray:
    """Return the pixels of a photo, uint8 [h, w, 3], RGB, upright.

    Args:
        photo: a file, a PIL image, or an array that is returned as it is.
        name: of a photo that is no file, for errors.
        levels: kind of samples of more than 8 bits -> black and white, see `depth.levels_of_dataset`.

    Raises:
        InputError: it cannot be read, has more than 8 bits of a kind without levels, or is an array of another shape or
            type.
    """
    if isinstance(photo, str | PurePath):
        file = to_path(photo)
        return read_photo(file, levels=_levels(read_header(file).depth, str(file), levels))
    if isinstance(photo, Image.Image):
        return pixels_of(photo, name, _levels(depth.kind(photo), name, levels))
    if not (isinstance(photo, np.ndarray) and photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3):
        kind = f"{photo.dtype} {list(photo.shape)}" if isinstance(photo, np.ndarray) else type(photo).__name__
        raise InputError(f"{name} is {kind}; expected a path, a PIL image or a uint8 array [h, w, 3]")
    if 0 in photo.shape:
        raise InputError(f"{name} is {list(photo.shape)}; expected at least one pixel")
    return photo


def _levels(kind: str, name: str, levels: Mapping[str, depth.Levels]) -> depth.Levels | None:
    if kind and kind not in levels:
        raise InputError(
            f"{name} has {kind} of more than 8 bits, which the photos of the run do not have; expected their levels of "
            "black and white: levels=(BLACK, WHITE) of load(), or --levels=BLACK,WHITE"
        )
    return levels.get(kind)
