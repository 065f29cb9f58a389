"""Photos as a caller has them: paths, PIL images, arrays."""

from pathlib import Path

import numpy as np
from PIL import Image

from wsol_jax.data.photos import pixels_of, read_photo
from wsol_jax.errors import InputError

Photo = str | Path | Image.Image | np.ndarray
"""A file, an image, or uint8 [h, w, 3]."""


def is_one(photos: object) -> bool:
    """Return whether it is one photo, not several."""
    return isinstance(photos, str | Path | Image.Image) or (isinstance(photos, np.ndarray) and photos.ndim <= 3)


def pixels(photo: Photo, name: str) -> np.ndarray:
    """Return the pixels of a photo, uint8 [h, w, 3], RGB, upright.

    Args:
        photo: a file, a PIL image, or an array that is returned as it is.
        name: of a photo that is no file, for errors.

    Raises:
        InputError: it cannot be read, or is an array of another shape or type.
    """
    if isinstance(photo, str | Path):
        return read_photo(Path(photo))
    if isinstance(photo, Image.Image):
        return pixels_of(photo, name)
    if not (isinstance(photo, np.ndarray) and photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3):
        kind = f"{photo.dtype} {list(photo.shape)}" if isinstance(photo, np.ndarray) else type(photo).__name__
        raise InputError(f"{name} is {kind}; expected a path, a PIL image or a uint8 array [h, w, 3]")
    if 0 in photo.shape:
        raise InputError(f"{name} is {list(photo.shape)}; expected at least one pixel")
    return photo
