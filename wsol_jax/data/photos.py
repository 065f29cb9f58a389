"""Photos: from files of any format and mode to upright RGB pixels."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from wsol_jax.data import depth
from wsol_jax.data.formats import SUFFIXES as SUFFIXES
from wsol_jax.data.formats import open_image
from wsol_jax.data.frames import ORIENTATION, turned, turned_size
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.paths import StoreError, to_path
from wsol_jax.progress import track
from wsol_jax.threads import in_threads

Result = TypeVar("Result")

UNREADABLE_SIZE = (0, 0)
"""The size of a photo whose header cannot be read."""


class PhotoFiles(NamedTuple):
    """A `Dataset.read` of photos that are files below `root`.

    Attributes:
        root: the folder.
        is_exact: False allows `at_least` to decode a JPEG at a part of its size.
        workers: the number of processes that draw them for a batch; 0 for threads of this process.
    """

    root: Path
    is_exact: bool = True
    workers: int = 0

    def __call__(self, record: Record) -> np.ndarray:
        """Return the record's photo, see `read_photo`."""
        return read_photo(inside(self.root, record.path), levels=record.levels)

    def at_least(self, record: Record, size: tuple[int, int]) -> Image.Image:
        """Return the record's photo with at least `size` pixels, see `load_photo`, or all of them if `is_exact`."""
        least = None if self.is_exact else size
        return load_photo(inside(self.root, record.path), least=least, levels=record.levels)


def blank(record: Record) -> np.ndarray:
    """Return a white photo of the record's size, uint8 [h, w, 3]: `Dataset.read` where the photos are absent."""
    width, height = record.size
    return np.full((height, width, 3), 255, np.uint8)


def read_photo(
    source: Path | BinaryIO,
    name: str = "",
    least: tuple[int, int] | None = None,
    levels: depth.Levels | None = None,
) -> np.ndarray:
    """Return the pixels of `load_photo` as uint8 [h, w, 3], RGB."""
    return np.asarray(load_photo(source, name, least, levels))


def load_photo(
    source: Path | BinaryIO,
    name: str = "",
    least: tuple[int, int] | None = None,
    levels: depth.Levels | None = None,
) -> Image.Image:
    """Return a photo, decoded, as a viewer shows it.

    The EXIF orientation is applied. Without `levels`, samples of 16 bits are cut to their high byte, as TensorFlow
    does, which is within one level of a division by 257. CMYK follows TensorFlow too: inverted where the file has an
    Adobe marker. Transparent pixels are put on white. Of an animation, the first picture is read.

    Args:
        source: the file, or its content opened for reading.
        name: of the photo, for errors; '' for its path.
        least: width and height that are enough: a larger JPEG is decoded at 1/2, 1/4 or 1/8 of its size, by libjpeg's
            smaller inverse transforms, which is several times as fast; None for the whole size.
        levels: of black and white, for samples of more than 8 bits, see `depth.eight_bits`.

    Returns:
        The photo in Pillow's mode RGB.

    Raises:
        InputError: there is no such file, or it cannot be decoded to its end.
    """

    def decode(image: Image.Image) -> Image.Image:
        if least is not None and image.format in ("JPEG", "MPO"):
            width, height = turned_size(least, orientation_of(image))
            image.draft(None, (max(1, math.ceil(width)), max(1, math.ceil(height))))
        stored = _rgb(image, levels)
        return stored if _orientation(image) == 1 else Image.fromarray(_upright(image, stored))

    return opened(source, name, decode)


def pixels_of(image: Image.Image, name: str, levels: depth.Levels | None = None) -> np.ndarray:
    """Return the pixels of an image that Pillow has opened or made, as `read_photo` does those of a file.

    Args:
        image: of any mode.
        name: of the photo, for errors.
        levels: as of `read_photo`.

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        InputError: it cannot be decoded to its end.
    """
    try:
        return _upright(image, _rgb(image, levels))
    except Exception as error:  # as in `opened`
        raise InputError(f"{name}: not a readable photo ({first_line(error)})") from error


def extremes(path: Path) -> tuple[float, float]:
    """Return the lowest and the highest finite sample of a photo, in its own depth.

    Raises:
        InputError: there is no such file, or it cannot be decoded to its end.
    """
    return opened(path, "", depth.extremes)


def read_mask(path: Path) -> np.ndarray:
    """Return a mask file as bool [h, w], upright: true where its grey value of 0..255 is not 0 (wsolevaluation: > 0.5).

    The masks of CUB-200-2011 are grey where its annotators disagree; one of them is enough.

    Raises:
        InputError: there is no such file, or it cannot be decoded to its end.
    """
    return opened(path, "", lambda image: _upright(image, image.convert("L")) > 0)


def photo_size(source: Path | BinaryIO, name: str = "") -> tuple[int, int]:
    """Return the width and height of an upright photo, from its header alone.

    Args:
        source: the file, or its content opened for reading.
        name: of the photo, for errors; '' for its path.

    Raises:
        InputError: there is no such file, or its header is not that of a photo.
    """

    def upright_size(image: Image.Image) -> tuple[int, int]:
        return image.size if image.format == "TIFF" else turned_size(image.size, orientation_of(image))

    return opened(source, name, upright_size, header_only=True)


def photo_sizes(root: Path, paths: Sequence[str], name: str) -> list[tuple[int, int]]:
    """Return the widths and heights of many photos, in their order; (0, 0) for one with an unreadable header.

    `check.check_photos` names that one later and leaves it out or stops, as the user wishes.

    Args:
        root: of the dataset.
        paths: of the photos, relative to `root`.
        name: of the progress bar.

    Raises:
        InputError: a file does not exist, or lies outside of `root`.
    """

    def size(path: str) -> tuple[int, int]:
        file = existing(root, path)
        try:
            return photo_size(file)
        except InputError:
            return UNREADABLE_SIZE

    return list(track(in_threads(size, paths), len(paths), name))


def inside(root: Path, relative: str) -> Path:
    """Return the file of a relative path, always below `root`.

    Raises:
        InputError: the path is empty or absolute, or has '..'.
    """
    require_inside(root, relative)
    return root / relative


def require_inside(root: Path, relative: str) -> None:
    """Raise InputError unless a relative path is always below `root`."""
    parts = [part for part in relative.split("/") if part not in ("", ".")]
    if not parts or relative.startswith("/") or ".." in parts or "\0" in relative:
        raise InputError(f"{relative!r} is not a file inside {root}; expected a relative path without '..'")
    try:
        relative.encode()  # tables take text
    except UnicodeEncodeError as error:
        raise InputError(f"{relative!a}: expected a file name in UTF-8") from error


def existing(root: Path, relative: str) -> Path:
    """Return the existing file of a relative path, always below `root`.

    Raises:
        InputError: the path leads out of `root`, or there is no such file.
    """
    path = inside(root, relative)
    if not path.is_file():
        raise InputError(f"{path}: no such photo, though the dataset lists it")
    return path


def root_folder(folder: str, name: str) -> Path:
    """Return the folder of a dataset.

    Args:
        folder: `config.data.dir`.
        name: of the dataset, for the error.

    Raises:
        InputError: it is empty, or does not exist.
    """
    if not folder:
        raise InputError(f"the dataset {name!r} is read from a folder: give it with --config.data.dir=FOLDER")
    root = to_path(folder).expanduser()
    if not root.is_dir():
        raise InputError(f"--config.data.dir: there is no folder {root}")
    return root


def first_line(error: Exception) -> str:
    """Return the first line of another library's error, or its type where it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def opened(
    source: Path | BinaryIO, name: str, use: Callable[[Image.Image], Result], header_only: bool = False
) -> Result:
    """Return the result of `use` for an opened photo.

    Args:
        source: the file, or its content opened for reading.
        name: of the photo, for errors; '' for its path.
        use: opened image -> result.
        header_only: whether it reads no pixels.

    Raises:
        InputError: there is no such file, or it cannot be decoded.
        StoreError: the store of a remote file does not answer, or refuses.
    """
    name = name or str(source)
    try:
        with open_image(source, header_only) as image:
            return use(image)
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such photo") from error
    except StoreError:  # the photo may be right
        raise
    except Exception as error:  # damaged bytes make the decoders raise nearly any error
        raise InputError(f"{name}: not a readable photo ({first_line(error)})") from error


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened photo, from 1 to 8; 1 where it has none or a damaged one."""
    # EXIF behind a PNG's pixels is ignored: reading it would decode the whole file.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF is common, and its photo is whole
        return 1
    return orientation if orientation in range(1, 9) else 1


def _upright(image: Image.Image, converted: Image.Image) -> np.ndarray:
    """The pixels of a converted image, turned as the image's EXIF requires."""
    return turned(np.asarray(converted), _orientation(image))


def _orientation(image: Image.Image) -> int:
    """The orientation of an image's pixels; Pillow turns those of a TIFF by itself."""
    return 1 if image.format == "TIFF" else orientation_of(image)


def _rgb(image: Image.Image, levels: depth.Levels | None = None) -> Image.Image:
    image = depth.eight_bits(image, levels)
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow reads every CMYK JPEG as Adobe's, which are inverted.
        image = Image.eval(image, lambda level: 255 - level)
    if image.has_transparency_data:
        transparent = image.convert("RGBA")
        white = Image.new("RGBA", transparent.size, "white")
        return Image.alpha_composite(white, transparent).convert("RGB")
    image.load()  # `convert` would copy what is RGB already
    return image if image.mode == "RGB" else image.convert("RGB")
