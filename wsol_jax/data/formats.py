"""Files of photos: their formats, among them those that need a package of their own."""

import io
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsol_jax.errors import InputError
from wsol_jax.paths import readable

if TYPE_CHECKING:
    from pydicom import Dataset as Dicom

SUFFIXES = frozenset(
    """.jpg .jpeg .jpe .jfif .mpo .png .webp .tif .tiff .bmp .gif .ppm .pgm .heic .heif .dcm""".split()  # noqa: SIM905
)

# Pillow goes by content, not by suffix, and some of its other formats start outside programs (EPS: Ghostscript).
# JPEG opens MPO too.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def open_image(source: Path | BinaryIO, header_only: bool = False) -> Image.Image:
    """Return a photo opened by Pillow, not yet decoded; HEIC and DICOM need pillow-heif and pydicom.

    Args:
        source: the file, or its content opened for reading.
        header_only: whether the pixels will not be read; those of DICOM are then left out.

    Raises:
        InputError: a package is not installed.
        Exception: nearly any, for damaged bytes.
    """
    if not isinstance(source, PurePath):
        return Image.open(source, formats=_FORMATS)
    file = readable(source)
    if source.suffix.lower() == ".dcm":
        return _dicom(file, header_only)
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        if not _is_heif(file):
            raise
    return _heif(file)


def _is_heif(file: Path | io.BytesIO) -> bool:
    if isinstance(file, io.BytesIO):
        start = file.getvalue()[:12]
    else:
        with file.open("rb") as content:
            start = content.read(12)
    return start[4:8] == b"ftyp" and start[8:] in _HEIF_BRANDS


def _heif(file: Path | io.BytesIO) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise InputError("HEIC is read by the package pillow-heif; expected it to be installed") from error
    return HeifImageFile(file)


def _dicom(file: Path | io.BytesIO, header_only: bool) -> Image.Image:
    try:
        import pydicom
    except ImportError as error:
        raise InputError("DICOM is read by the package pydicom; expected it to be installed") from error
    content = pydicom.dcmread(file, stop_before_pixels=header_only)
    frames, pixels = int(content.get("NumberOfFrames") or 1), content.Columns * content.Rows
    if frames * pixels > 2 * Image.MAX_IMAGE_PIXELS:  # the most that Pillow opens
        raise ValueError(f"{frames} pictures of {content.Columns} x {content.Rows} pixels, too many to decode")
    is_grey = content.SamplesPerPixel == 1
    if header_only:
        return Image.new("F" if is_grey else "RGB", (content.Columns, content.Rows))
    return Image.fromarray(_grey_levels(content) if is_grey else _first_frame(content, axes=3))


def _grey_levels(content: "Dicom") -> np.ndarray:
    """The physical values of a grey picture, float32 [h, w], higher ones brighter."""
    from pydicom.pixels import apply_modality_lut

    levels = _first_frame(content, axes=2)
    if content.PhotometricInterpretation == "MONOCHROME1":  # 0 is white
        highest = 2 ** (content.BitsStored - content.PixelRepresentation)
        levels = (-1 if content.PixelRepresentation else highest - 1) - levels.astype(np.int64)
    return np.asarray(apply_modality_lut(levels, content), np.float32)


def _first_frame(content: "Dicom", axes: int) -> np.ndarray:
    pixels = content.pixel_array
    return pixels if pixels.ndim == axes else pixels[0]
