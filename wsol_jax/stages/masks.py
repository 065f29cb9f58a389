"""Pseudo masks: the part of each training photo that a localizer with the head 'mask' learns."""

from collections.abc import Iterator

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax.arrays import read_array
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.methods.mask_boxes import GRID
from wsol_jax.predictions.table import read_predictions
from wsol_jax.pseudo.regions import heat_mask, largest_region
from wsol_jax.stages.context import Context, training_records
from wsol_jax.stages.corrections import corrected_names
from wsol_jax.stages.workdir import heat_file, pseudo_boxes_file


def photos_with_region(context: Context) -> tuple[list[Record], np.ndarray]:
    """Return the photos that a localizer of masks learns, and their pseudo boxes, float64 [n, 4], normalised xyxy.

    They are those of training except the ones whose box is the whole image for lack of a region, see `fallback` in a
    table: their mask would be empty, though they show an object.

    Args:
        context: of the stage `localizer`.

    Raises:
        InputError: there are none.
    """
    records = training_records(context)
    pseudo = read_predictions(pseudo_boxes_file(context.workdir, "train"), records, ("box",))
    kept = np.ones(len(records), bool) if pseudo.fallback is None else ~pseudo.fallback
    if not kept.any():
        raise InputError(f"the pseudo boxes of all {len(records)} training photos are whole images; expected regions")
    return [record for record, is_kept in zip(records, kept, strict=True) if is_kept], pseudo.box[kept]


def masks_to_learn(context: Context) -> tuple[list[Record], Iterator[np.ndarray]]:
    """Return the photos of `photos_with_region`, and an iterator over their pseudo masks, float32 [h, w] in [0, 1].

    A mask is the largest region of the photo's heat map, the one that its pseudo box is cut around; or the box itself
    where people corrected it or it comes from no heat map.

    Args:
        context: of the stage `localizer`.
    """
    records, boxes = photos_with_region(context)
    if without := len(training_records(context)) - len(records):
        logging.info("localizer: %d training photos have no region and are left out", without)
    file = heat_file(context.workdir, "train")
    if not file.exists():
        return records, map(filled, boxes)
    corrected, _ = corrected_names(context.workdir)
    rows = {record.path: row for row, record in enumerate(context.dataset.splits["train"])}
    config, heat = context.configs["pseudo_boxes"], read_array(file, (len(rows), None, None), mapped=True)
    return records, (
        filled(box) if record.path in corrected else _region(np.asarray(heat[rows[record.path]], np.float32), config)
        for record, box in zip(records, boxes, strict=True)
    )


def filled(box: np.ndarray, size: int = GRID) -> np.ndarray:
    """Return the share of each cell that a box covers, float32 [size, size].

    Args:
        box: [4], normalised xyxy.
        size: cells a side.
    """
    cell = np.arange(size)
    columns, rows = (
        np.clip(np.minimum(box[axis + 2] * size, cell + 1) - np.maximum(box[axis] * size, cell), 0, 1)
        for axis in (0, 1)
    )
    return np.outer(rows, columns).astype(np.float32)


def _region(heat: np.ndarray, config: ConfigDict) -> np.ndarray:
    if config.cam_from:
        return largest_region(heat > config.cam_threshold).astype(np.float32)
    return heat_mask(heat, config.threshold_levels)
