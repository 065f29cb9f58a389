"""All formats of boxes in one folder: Parquet, CSV, COCO JSON, Label Studio, YOLO."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq

from wsol_jax.data.records import Record
from wsol_jax.files import write_atomically
from wsol_jax.paths import readable
from wsol_jax.predictions.coco import write_coco
from wsol_jax.predictions.label_studio import write_label_studio
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import write_predictions
from wsol_jax.predictions.yolo import write_yolo

FLAT_COLUMNS = ("image", "label", "x0", "y0", "x1", "y1", "score", "fallback")


def export_boxes(
    folder: Path, records: Sequence[Record], predictions: Predictions, classes: Sequence[str], version: str
) -> None:
    """Write boxes.parquet, boxes.csv, coco.json, label_studio.json and yolo/ with one box per photo.

    Args:
        folder: created if it does not exist.
        records: n records.
        predictions: with boxes, in the same order.
        classes: the classes' names.
        version: the source of the boxes, as labelling tools show it.
    """
    table = folder / "boxes.parquet"
    write_predictions(table, records, predictions)
    rows = pq.read_table(readable(table))
    flat = rows.select([name for name in FLAT_COLUMNS if name in rows.column_names])
    write_atomically(folder / "boxes.csv", lambda file: pyarrow.csv.write_csv(flat, file))
    write_coco(folder / "coco.json", records, predictions, classes)
    write_label_studio(folder / "label_studio.json", records, predictions, classes, version)
    write_yolo(folder / "yolo", records, predictions, classes)
