"""Ranges of samples of photos of more than 8 bits: each photo is decoded once, and again when its file changes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from wsol_jax.data import index, photos
from wsol_jax.errors import InputError
from wsol_jax.progress import track
from wsol_jax.threads import in_threads

COLUMNS = {"low": pa.float64(), "high": pa.float64()}
"""The columns after path and stamp of the table of ranges."""

_UNREADABLE = (np.nan, np.nan)


def ranges_file(table: Path | None) -> Path | None:
    """Return the table of the ranges of photos that belongs to a table of their headers; None for none."""
    return table and table.with_name(f"{table.stem}.ranges.parquet")


def read_ranges(root: Path, paths: Sequence[str], table: Path | None = None, is_unchanged: bool = False) -> np.ndarray:
    """Return the lowest and the highest sample of many photos, float64 [n, 2]; NaN for one that cannot be decoded.

    Args:
        root: of the dataset.
        paths: of n photos of more than 8 bits, relative to `root`.
        table: where ranges are kept, see `index`: a file of the same size and times is not read again; None for none.
        is_unchanged: a file that the table knows is not compared with it.
    """
    known = index.read_table(table, COLUMNS)
    rows = index.rows_of(known, paths)
    stamp, is_same = index.compare(known, rows, root, paths, is_unchanged)
    ranges = np.full((len(paths), 2), np.nan)
    ranges[is_same] = np.stack([known.column(name).to_numpy() for name in COLUMNS], axis=-1)[rows[is_same]]
    # Another program may have written the table.
    new = np.flatnonzero(~(np.isfinite(ranges).all(axis=1) & (ranges[:, 0] <= ranges[:, 1])))
    if not len(new):
        return ranges
    read = in_threads(lambda i: _range(root, paths[i]), new.tolist())
    ranges[new] = list(track(read, len(new), "levels of black and white"))
    to_keep = new[index.is_settled(stamp[new]) & np.isfinite(ranges[new, 0])]
    if table is not None and len(to_keep):
        columns = {name: pa.array(column) for name, column in zip(COLUMNS, ranges[to_keep].T, strict=True)}
        index.write_table(table, known, [paths[i] for i in to_keep], stamp[to_keep], columns)
    return ranges


def _range(root: Path, path: str) -> tuple[float, float]:
    try:
        return photos.extremes(photos.inside(root, path))
    except InputError:
        return _UNREADABLE
