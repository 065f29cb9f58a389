"""Pseudo boxes of another run, or of a table, in place of true boxes: they choose thresholds."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from wsol_jax import boxes
from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.errors import InputError
from wsol_jax.paths import to_path
from wsol_jax.predictions.table import read_predictions
from wsol_jax.stages import identity
from wsol_jax.stages.workdir import identity_file, pseudo_boxes_file

STAGE = "pseudo_boxes"


def choosing_split(split: str, splits: Collection[str]) -> str:
    """Return the split whose pseudo boxes choose for the photos of `split`: training photos, or else validation photos.

    Without either they are the photos of `split` themselves: that is transductive, though no true box is used.

    Args:
        split: whose photos are evaluated, one of `splits`.
        splits: those with score maps.
    """
    return next(name for name in ("train", "val", split) if name in splits)


def with_pseudo_boxes(place: str, split: str, records: Sequence[Record]) -> list[Record]:
    """Return records that have their pseudo box as the true one, and no mask.

    A box that is the whole photo for lack of an object, see `fallback` in a table, is none.

    Args:
        place: the workdir of a run with pseudo boxes of these photos, or a Parquet file with our columns.
        split: of the records.
        records: n photos, at least one.

    Raises:
        InputError: pseudo boxes are not finished there, the table is damaged or lacks photos, or none has a box.
    """
    table = _table(place, split)
    predictions = read_predictions(table, records, ("box",))
    without = np.zeros(len(records), bool) if predictions.fallback is None else predictions.fallback
    if without.all():
        raise InputError(f"{table}: all {len(records)} {split} photos are without an object; expected some with one")
    box = boxes.clip(predictions.box)
    return [
        record._replace(boxes=NO_BOXES if without[i] else box[i : i + 1], masks=()) for i, record in enumerate(records)
    ]


def files(place: str) -> dict[str, Path]:
    """Return the file that pseudo boxes are read from, by name; for a run, its fingerprint; {} for none.

    Args:
        place: see `with_pseudo_boxes`; '' for none.
    """
    if not place:
        return {}
    file = to_path(place) if place.endswith(".parquet") else identity_file(to_path(place), STAGE)
    return {str(file): file}


def _table(place: str, split: str) -> Path:
    if place.endswith(".parquet"):
        return to_path(place)
    saved = identity.read(to_path(place), STAGE)
    if saved is None or not saved.finished:
        raise InputError(f"{place} has no finished {STAGE}; expected the workdir of a run, or a .parquet file")
    return pseudo_boxes_file(to_path(place), split)
