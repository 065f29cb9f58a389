"""Headers of photos: the stored size, the EXIF orientation and the depth, without decoding a pixel."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from wsol_jax.data import depth, index, photos
from wsol_jax.data.frames import ORIENTATION, turned_size
from wsol_jax.errors import InputError
from wsol_jax.progress import track
from wsol_jax.threads import for_files, in_threads

_FRAMES_OF_JPEG = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the segments that hold width and height
# Tables, comments, applications' data but for APP1, where EXIF and XMP are.
_PLAIN_SEGMENTS = frozenset((0xDB, 0xC4, 0xDD, 0xFE, *range(0xE0, 0xF0))) - {0xE1}

_COLUMNS = ("width", "height", "orientation", "depth")  # of the table of photos
_AT_ONCE = 64  # headers are quicker to read than to hand from thread to thread


class Header(NamedTuple):
    """The header of a photo.

    Attributes:
        stored: width and height of the pixels as they are stored.
        orientation: EXIF's, from 1 to 8: how a viewer turns them; 1: not at all.
        depth: `depth.INTEGERS` or `depth.FLOATS` where its samples have more than 8 bits, else ''.
    """

    stored: tuple[int, int]
    orientation: int = 1
    depth: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height of the upright photo."""
        return turned_size(self.stored, self.orientation)


def read_header(source: Path | BinaryIO, name: str = "") -> Header:
    """Return the header of a photo.

    Args:
        source: the file, or its content opened for reading.
        name: of the photo, for errors; '' for its path.

    Raises:
        InputError: there is no such file, or its header is not that of a photo.
    """
    quick = _quick_jpeg(source) if isinstance(source, Path) else None
    return quick or photos.opened(source, name, _header, header_only=True)


def read_headers(
    root: Path, paths: Sequence[str], title: str, table: Path | None = None, is_unchanged: bool = False
) -> list[Header | None]:
    """Return the headers of many photos, in their order; None for one that is absent or has no readable header.

    Args:
        root: of the dataset.
        paths: of the photos, relative to `root`.
        title: of the progress bar.
        table: where headers are kept, see `index`: a file of the same size and times is not read again; None for none.
        is_unchanged: a file that the table knows is not compared with it.

    Raises:
        InputError: a path leads out of `root`.
    """
    for path in paths:
        photos.require_inside(root, path)
    known = index.read_table(table, index.OF_PHOTOS)
    rows = index.rows_of(known, paths)
    stamp, is_same = index.compare(known, rows, root, paths, is_unchanged)
    is_same[is_same] = _are_possible(known)[rows[is_same]]
    headers, new = _kept(known, rows, is_same), np.flatnonzero(~is_same)
    for i, header in zip(new, _read([root / paths[i] for i in new], title), strict=True):
        headers[i] = header
    to_keep = [i for i in new[index.is_settled(stamp[new])].tolist() if headers[i] is not None]
    if table is not None and to_keep:
        columns = _columns([headers[i] for i in to_keep])
        index.write_table(table, known, [paths[i] for i in to_keep], stamp[to_keep], columns)
    return headers


def _read(files: Sequence[Path], title: str) -> Iterator[Header | None]:
    if not files:
        return iter(())
    parts = [files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE)]
    read = in_threads(lambda part: [_header_or_none(file) for file in part], parts, threads=for_files(files[0]))
    return chain.from_iterable(track(read, len(files), title, weight=_AT_ONCE))


def _are_possible(known: pa.Table) -> np.ndarray:
    """Whether each row of a table holds a header, bool [m]; another program may have written it."""
    width, height, orientation, samples = (known.column(name).to_numpy() for name in _COLUMNS)
    is_depth = np.isin(samples.astype(str), ("", depth.INTEGERS, depth.FLOATS))
    return (width > 0) & (height > 0) & (orientation >= 1) & (orientation <= 8) & is_depth


def _kept(known: pa.Table, rows: np.ndarray, is_same: np.ndarray) -> list[Header | None]:
    """The headers of the photos that a table knows; equal ones are one object, as a million of them take memory."""
    headers, different = [None] * len(rows), {}
    columns = (known.column(name).take(rows[is_same]).to_pylist() for name in _COLUMNS)
    for i, values in zip(np.flatnonzero(is_same).tolist(), zip(*columns, strict=True), strict=True):
        if values not in different:
            width, height, orientation, samples = values
            different[values] = Header((width, height), orientation, samples)
        headers[i] = different[values]
    return headers


def _columns(headers: Sequence[Header]) -> dict[str, pa.Array]:
    """The columns of headers; the files' content is not known yet."""
    width, height = zip(*(header.stored for header in headers), strict=True)
    values = width, height, [h.orientation for h in headers], [h.depth for h in headers], [""] * len(headers)
    return {name: pa.array(column, kind) for (name, kind), column in zip(index.OF_PHOTOS.items(), values, strict=True)}


def _header_or_none(file: Path) -> Header | None:
    try:
        return read_header(file)
    except InputError:
        return None


def _header(image: Image.Image) -> Header:
    orientation = photos.orientation_of(image)
    # Pillow gives the size of a TIFF upright.
    stored = turned_size(image.size, orientation) if image.format == "TIFF" else image.size
    return Header(stored, orientation, depth.kind(image))


def _quick_jpeg(file: Path) -> Header | None:
    """The header of a usual JPEG, faster than Pillow; None leaves everything else to Pillow."""
    orientation = 0
    try:
        with file.open("rb") as content:
            if content.read(2) != b"\xff\xd8":
                return None
            while len(start := content.read(4)) == 4 and start[0] == 0xFF:
                marker, length = start[1], int.from_bytes(start[2:]) - 2
                if marker in _FRAMES_OF_JPEG:
                    return _of_frame(content.read(5), orientation or 1)
                if marker == 0xE1 and not orientation:
                    orientation = _orientation(content.read(length))
                elif marker in _PLAIN_SEGMENTS and length >= 0:
                    content.seek(length, 1)
                else:
                    return None
    except Exception:  # damaged: Pillow decides
        return None
    return None


def _orientation(segment: bytes) -> int:
    """The orientation in a segment of EXIF, 1 where it has none."""
    if not segment.startswith(b"Exif\0\0"):
        raise ValueError("XMP, which may have an orientation too")
    exif = Image.Exif()
    exif.load(segment)
    orientation = exif.get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _of_frame(frame: bytes, orientation: int) -> Header | None:
    bits, height, width = frame[0], int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    # Deeper and huge photos are Pillow's to judge; height 0 stands behind the pixels.
    is_usual = bits == 8 and 0 < width * height <= (Image.MAX_IMAGE_PIXELS or 0)
    return Header((width, height), orientation) if is_usual else None
