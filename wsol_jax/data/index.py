"""Tables of photo files in Parquet: what was once read of each, and the size and times that its file had then."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from absl import logging

from wsol_jax.files import user_folder, write_atomically, write_in_each_process
from wsol_jax.paths import StoreError, readable, to_path
from wsol_jax.threads import for_files, in_parts

AUTO = "auto"
STAMP = ("bytes", "modified", "changed")
OF_PHOTOS = {
    "width": pa.int32(),  # of the stored pixels
    "height": pa.int32(),
    "orientation": pa.int8(),
    "depth": pa.string(),
    "content": pa.string(),  # a digest of the file if all of it was decoded, else ''
}
"""The columns after path and stamp of the table that all workdirs share."""

ABSENT = -1  # as a stamp: there is no such file; as a row: the table does not have it
SETTLED = 2_000_000_000  # nanoseconds: a file that changed so shortly before it is read may change again unseen


def index_file(name: str, root: Path) -> Path | None:
    """Return the table of the photos below `root` that all workdirs share; None for none.

    Args:
        name: `config.data.index`: 'auto' for a file in the user's cache folder ($XDG_CACHE_HOME or ~/.cache), which is
            named by a digest of the root; '' for none; or the file.
        root: of the dataset.
    """
    if name == AUTO:
        return _folder_of_host() / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}.parquet"
    return to_path(name).expanduser() if name else None


def _folder_of_host() -> Path:
    """The folder of the tables 'auto', which each host has on its own disk unless its users' folders are shared."""
    return user_folder("photos")


def stamps(root: Path, paths: Sequence[str]) -> np.ndarray:
    """Return the stamp of every file, int64 [n, 3]: its bytes, and when its content and its entry were last changed.

    Times are in nanoseconds. The last one cannot be set, so that any change of the content changes the stamp.

    Args:
        root: of the dataset.
        paths: of n files, relative to `root`; `ABSENT` for one that is not there.
    """

    def stamp(path: str) -> tuple[int, int, int]:
        try:
            status = (root / path).stat()
        except StoreError:  # it may be there
            raise
        except OSError:
            return ABSENT, ABSENT, ABSENT
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns

    return np.fromiter(in_parts(stamp, paths, threads=for_files(root)), np.dtype((np.int64, 3)), len(paths))


def is_settled(stamp: np.ndarray) -> np.ndarray:
    """Return which files are there and did not change just now, bool [n], by their stamps [n, 3]."""
    return (stamp[:, 0] != ABSENT) & (stamp[:, 1:].max(axis=1, initial=0) < time.time_ns() - SETTLED)


def schema(columns: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return the schema of a table with these columns after path and stamp."""
    return pa.schema({"path": pa.string(), **dict.fromkeys(STAMP, pa.int64()), **columns})


def read_table(file: Path | None, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Return a table of `write_table`; one without rows if there is none, or it is damaged or of something else.

    Args:
        file: the table, or None.
        columns: those after path and stamp, and their types.
    """
    expected = schema(columns)
    try:
        if file is not None and file.is_file():
            table = pq.read_table(readable(file)).combine_chunks()
            if table.schema.equals(expected) and not any(column.null_count for column in table.columns):
                return table
    except StoreError:  # it may be right
        raise
    except (pa.ArrowException, OSError):
        pass
    return expected.empty_table()


def rows_of(table: pa.Table, paths: Sequence[str]) -> np.ndarray:
    """Return the row of every path, int64 [n]; `ABSENT` where there is none."""
    rows = pc.index_in(pa.array(paths, pa.string()), value_set=table.column("path"))
    return pc.fill_null(rows, ABSENT).to_numpy().astype(np.int64)


def stamps_of(table: pa.Table, rows: np.ndarray) -> np.ndarray:
    """Return the stamps in some rows of a table, int64 [n, 3]; zeros, which no file has, for a row that is absent."""
    every = np.stack([table.column(name).to_numpy() for name in STAMP], axis=-1)
    return np.where((rows != ABSENT)[:, None], every[rows], 0) if len(every) else np.zeros((len(rows), len(STAMP)), int)


def compare(
    table: pa.Table, rows: np.ndarray, root: Path, paths: Sequence[str], is_unchanged: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the stamp of every file, int64 [n, 3], and whether it is the one that the table has, bool [n].

    Args:
        table: see `read_table`.
        rows: of the files, see `rows_of`.
        root: of the dataset.
        paths: of the n files, relative to `root`.
        is_unchanged: files of the table are not compared with it: their stamps are the table's.
    """
    had, looked_at = stamps_of(table, rows), np.flatnonzero(rows == ABSENT) if is_unchanged else np.arange(len(rows))
    stamp = had.copy()
    stamp[looked_at] = stamps(root, [paths[i] for i in looked_at])
    return stamp, (rows != ABSENT) & (had == stamp).all(axis=1)


def write_table(
    file: Path, known: pa.Table, paths: Sequence[str], stamp: np.ndarray, columns: Mapping[str, pa.Array]
) -> None:
    """Write a table of n files, with the rows of other files that it had; of 'auto', every process writes its host's.

    Args:
        file: the table; if it cannot be written, a line of the log reports it.
        known: its content so far.
        paths: of n files.
        stamp: int64 [n, 3].
        columns: those after path and stamp, [n] each.
    """
    of_stamp = {name: pa.array(stamp[:, i]) for i, name in enumerate(STAMP)}
    table = pa.table({"path": pa.array(paths, pa.string()), **of_stamp, **columns})
    others = pc.invert(pc.is_in(known.column("path"), value_set=table.column("path")))
    table = pa.concat_tables([table, known.filter(others)])
    write = write_in_each_process if file.parent == _folder_of_host() else write_atomically
    try:
        write(file, lambda out: pq.write_table(table, out, compression="zstd"))
    except OSError as error:
        logging.warning("what was read of the photos is not kept: %s", error)
