"""Predictions in a Parquet file, joined to the records by image name when they are read."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wsol_jax import boxes
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.paths import StoreError, readable
from wsol_jax.predictions.predictions import Predictions, image_sizes

CORNERS = ("x0", "y0", "x1", "y1")
CLASSES = ("top5_class", "top5_prob")


def write_predictions(path: Path, records: Sequence[Record], predictions: Predictions) -> None:
    """Write a Parquet file of one row per record, whole or not at all.

    The columns are image (the record's path), label int32, x0, y0, x1, y1 float64 (pixels of the original image), score
    float32, fallback bool, top5_class list<int32>, top5_prob list<float32>. A field that is None has no column.

    Args:
        path: the file; its folder is created if it does not exist.
        records: n records.
        predictions: of the same photos, in the same order.
    """
    columns = {
        "image": pa.array([record.path for record in records], pa.string()),
        "label": pa.array([record.label for record in records], pa.int32()),
    }
    if predictions.box is not None:
        pixels = boxes.scale(np.asarray(predictions.box, np.float64), image_sizes(records))
        columns |= {name: pa.array(pixels[:, i]) for i, name in enumerate(CORNERS)}
    if predictions.score is not None:
        columns["score"] = pa.array(np.asarray(predictions.score, np.float32))
    if predictions.fallback is not None:
        columns["fallback"] = pa.array(np.asarray(predictions.fallback, bool))
    if predictions.top5_class is not None:
        columns["top5_class"] = _list_column(predictions.top5_class, np.int32)
        columns["top5_prob"] = _list_column(predictions.top5_prob, np.float32)
    write_atomically(path, lambda file: pq.write_table(pa.table(columns), file))


def read_predictions(path: Path, records: Sequence[Record], needs: Collection[str] = ()) -> Predictions:
    """Return the predictions of some records from a table of `write_predictions`, or of another program's.

    Rows and records are joined by image: the order of the rows does not matter, and rows of other photos are ignored.

    Args:
        path: the Parquet file.
        records: n records, each of which needs a row.
        needs: the required fields of `Predictions`, e.g. ('box',).

    Returns:
        The predictions of the records, in their order.

    Raises:
        InputError: the file is missing or not Parquet; a column is missing, has empty cells or is of another type; an
            image comes twice; records have no row; a box is not finite or inverted; classes are not 1 to 5 per photo.
    """
    table = _read_table(path)
    table = table.take(_rows(path, table, records))
    top5_class, top5_prob = _read_classes(path, table)
    predictions = Predictions(
        box=_read_boxes(path, table, records),
        score=_read_column(path, table, "score", pa.float32()),
        fallback=_read_column(path, table, "fallback", pa.bool_()),
        top5_class=top5_class,
        top5_prob=top5_prob,
    )
    columns = {"box": CORNERS, "top5_class": CLASSES, "top5_prob": CLASSES}
    for field in needs:
        if getattr(predictions, field) is None:
            raise InputError(f"{path}: expected the columns {', '.join(columns.get(field, (field,)))}")
    return predictions


def read_images(path: Path, records: Sequence[Record]) -> np.ndarray:
    """Return the row of each record in a table of predictions, int64 [n].

    Raises:
        InputError: the file is missing or not Parquet, an image comes twice or records have no row.
    """
    return _rows(path, _read_table(path), records).to_numpy()


def _list_column(values: np.ndarray, dtype: type) -> pa.Array:
    values = np.asarray(values, dtype)
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, values.ravel())


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a Parquet table of boxes or classes")
    try:
        return pq.read_table(readable(path))
    except StoreError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet table ({str(error).splitlines()[0]})") from error


def _rows(path: Path, table: pa.Table, records: Sequence[Record]) -> pa.Array:
    """Return the row of each record's photo, int64 [n]."""
    if "image" not in table.column_names:
        raise InputError(f"{path}: expected a column 'image', the photo's path relative to the dataset's root")
    names = table.column("image").to_pylist()
    row_of = {name: row for row, name in enumerate(names)}
    if len(row_of) < len(names):
        name = Counter(names).most_common(1)[0][0]
        raise InputError(f"{path}: image {name} comes twice; expected one row per image")
    missing = [record.path for record in records if record.path not in row_of]
    if missing:
        raise InputError(f"{path}: no row for {len(missing)} of {len(records)} photos, the first is {missing[0]}")
    return pa.array([row_of[record.path] for record in records], pa.int64())


def _cast_column(path: Path, table: pa.Table, name: str, dtype: pa.DataType) -> pa.Array:
    column = table.column(name).combine_chunks()
    if column.null_count:
        raise InputError(f"{path}: column '{name}' has {column.null_count} empty cells")
    try:
        return column.cast(dtype)
    except pa.ArrowException as error:
        raise InputError(f"{path}: column '{name}' holds {column.type}, expected {dtype}") from error


def _read_column(path: Path, table: pa.Table, name: str, dtype: pa.DataType) -> np.ndarray | None:
    if name not in table.column_names:
        return None
    return _cast_column(path, table, name, dtype).to_numpy(zero_copy_only=False)


def _require_all(path: Path, table: pa.Table, names: Sequence[str]) -> bool:
    """Return whether the table has these columns; some of them without the others are an error."""
    missing = [name for name in names if name not in table.column_names]
    if 0 < len(missing) < len(names):
        raise InputError(f"{path}: no column '{missing[0]}'; expected {', '.join(names)} together")
    return not missing


def _read_boxes(path: Path, table: pa.Table, records: Sequence[Record]) -> np.ndarray | None:
    if not _require_all(path, table, CORNERS):
        return None
    pixels = np.stack([_read_column(path, table, name, pa.float64()) for name in CORNERS], axis=-1)
    bad = ~np.isfinite(pixels).all(axis=-1) | (pixels[:, 2:] < pixels[:, :2]).any(axis=-1)
    if bad.any():
        first = int(bad.argmax())
        raise InputError(
            f"{path}: {bad.sum()} boxes are not finite or inverted, the first is {pixels[first].tolist()} of "
            f"{records[first].path}; expected x0 <= x1 and y0 <= y1"
        )
    return pixels / np.tile(image_sizes(records), 2)


def _read_classes(path: Path, table: pa.Table) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    if not _require_all(path, table, CLASSES):
        return None, None
    top5_class, top5_prob = (
        _read_lists(path, table, name, dtype) for name, dtype in zip(CLASSES, (pa.int32(), pa.float32()), strict=True)
    )
    if top5_class.shape != top5_prob.shape:
        k, m = top5_class.shape[1], top5_prob.shape[1]
        raise InputError(f"{path}: top5_class has {k} classes per photo, top5_prob {m}; expected as many")
    return top5_class, top5_prob


def _read_lists(path: Path, table: pa.Table, name: str, dtype: pa.DataType) -> np.ndarray:
    lists = _cast_column(path, table, name, pa.list_(dtype))
    lengths = set(lists.value_lengths().to_pylist())
    if len(lengths) > 1 or not lengths <= {1, 2, 3, 4, 5} or lists.flatten().null_count:
        raise InputError(f"{path}: column '{name}' expected 1 to 5 classes per photo, the same number for each")
    return lists.flatten().to_numpy().reshape(len(lists), -1 if len(lists) else 5)
