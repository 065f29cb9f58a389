"""Pseudo masks: the part of each training photo that a localizer with the head 'mask' learns."""

import numpy as np
from ml_collections import ConfigDict

from wsol_jax.arrays import read_array
from wsol_jax.methods.mask_boxes import GRID
from wsol_jax.pseudo.regions import heat_mask, largest_region
from wsol_jax.stages.context import Context, training_records
from wsol_jax.stages.corrections import corrected_names
from wsol_jax.stages.training import boxes_to_learn
from wsol_jax.stages.workdir import heat_file


def masks_to_learn(context: Context, learned: Context) -> list[np.ndarray]:
    """Return the pseudo mask of each photo to learn, float32 [h, w] in [0, 1].

    It is the largest region of the photo's heat map, the one that its pseudo box is cut around, empty where no cell is
    above the threshold; or the box itself where people corrected it or it comes from no heat map.

    Args:
        context: of the stage `localizer`.
        learned: the same without the photos that are left out, see `without_left_out`.
    """
    boxes = boxes_to_learn(learned)
    file = heat_file(context.workdir, "train")
    if not file.exists():
        return [filled(box) for box in boxes]
    corrected, _ = corrected_names(context.workdir)
    rows = {record.path: row for row, record in enumerate(training_records(context))}
    config, heat = context.configs["pseudo_boxes"], read_array(file, (len(rows), None, None), mapped=True)
    return [
        filled(box) if path in corrected else _region(np.asarray(heat[rows[path]], np.float32), config)
        for path, box in zip([record.path for record in training_records(learned)], boxes, strict=True)
    ]


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
