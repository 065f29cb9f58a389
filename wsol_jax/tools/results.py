"""The folder that the commands `boxes` and `predict` write: boxes in all formats, and photos that cannot be read."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import logging

from wsol_jax.data.folder import photo_names
from wsol_jax.data.photos import SUFFIXES
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.predictions.export import export_boxes
from wsol_jax.predictions.predictions import Predictions

CONTENT = "boxes.parquet, boxes.csv, coco.json, label_studio.json, yolo/, index.html"


def list_photos(place: Path, out: Path) -> tuple[Path, list[str]]:
    """Return a folder, and the paths of its photos at any depth relative to it; of a file, its folder and its name.

    Args:
        place: a folder or a photo.
        out: the folder of the results, which may not be in it.

    Raises:
        InputError: there is no such folder or file, or it has no photos; the results would be among them.
    """
    if out.resolve().is_relative_to(place.resolve()):
        raise InputError(f"--out={out} is inside of {place}; expected a folder outside of the photos")
    if place.is_file():
        return place.parent, [place.name]
    if not place.is_dir():
        raise InputError(f"{place}: no such folder or photo")
    names = photo_names(place, place)
    if not names:
        raise InputError(f"{place} has no photos; expected files that end in {', '.join(sorted(SUFFIXES))}")
    return place, names


def write_results(
    out: Path,
    records: Sequence[Record],
    predictions: Predictions,
    classes: Sequence[str],
    version: str,
    unreadable: Mapping[str, str],
) -> None:
    """Write the boxes in all formats and, if some photos cannot be read, unreadable.csv; log the counts.

    Args:
        out: created if it does not exist.
        records: n records.
        predictions: with boxes, in the same order.
        classes: the classes' names.
        version: the source of the boxes, as labelling tools show it.
        unreadable: path of a photo -> reason.
    """
    export_boxes(out, records, predictions, classes, version)
    table = io.StringIO()
    csv.writer(table).writerows([("image", "reason"), *unreadable.items()])
    place = out / "unreadable.csv"
    if unreadable:
        write_atomically(place, lambda file: file.write(table.getvalue().encode()))
        logging.warning("%d of %d photos cannot be read: %s", len(unreadable), len(unreadable) + len(records), place)
    else:
        place.unlink(missing_ok=True)
    logging.info("%d boxes: %s (%s)", len(records), out, CONTENT)
