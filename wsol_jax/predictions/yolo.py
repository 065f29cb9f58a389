"""Boxes as YOLO labels: a text file per photo, and data.yaml."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from absl import logging

from wsol_jax import boxes
from wsol_jax.data.records import Record
from wsol_jax.files import write_atomically
from wsol_jax.predictions.predictions import Predictions, box_classes
from wsol_jax.threads import for_files, in_parts


def write_yolo(folder: Path, records: Sequence[Record], predictions: Predictions, classes: Sequence[str]) -> None:
    """Write labels/PHOTO.txt (`class x_centre y_centre width height`, normalised) for every photo, and data.yaml.

    A photo whose box is of no class has an empty file, which YOLO reads as background.

    Args:
        folder: created if it does not exist.
        records: n records, whose paths stay below `folder`/labels.
        predictions: with boxes, in the same order.
        classes: the classes' names.
    """
    twins = len(records) - len({PurePosixPath(record.path).with_suffix("") for record in records})
    if twins:
        logging.warning("%s: %d photos differ from another in their endings alone, and share its file", folder, twins)
    labels = box_classes(records, predictions, classes)
    corners = boxes.clip(np.asarray(predictions.box, np.float64))
    centre, size = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    lines = {}
    for record, label, (x, y), (width, height) in zip(records, labels, centre, size, strict=True):
        line = f"{label} {x:.6f} {y:.6f} {width:.6f} {height:.6f}\n" if label >= 0 else ""
        lines[str(PurePosixPath(record.path).with_suffix(".txt"))] = line.encode()  # of twins the last one

    def write(name: str) -> None:
        write_atomically(folder / "labels" / name, lambda out: out.write(lines[name]))

    for _ in in_parts(write, list(lines), threads=for_files(folder)):
        pass
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(classes))
    text = f"path: .\ntrain: images\nval: images\nnames:\n{names}"
    write_atomically(folder / "data.yaml", lambda out: out.write(text.encode()))
