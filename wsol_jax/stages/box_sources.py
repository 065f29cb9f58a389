"""Every source of one box a photo in a run: the localizer, the pseudo boxes, the best centred box."""

from pathlib import Path

import numpy as np

from wsol_jax.data.records import Dataset
from wsol_jax.evaluation.center_box import best_center_box
from wsol_jax.predictions.predictions import Predictions, join
from wsol_jax.predictions.table import read_predictions
from wsol_jax.stages.workdir import predictions_file, pseudo_boxes_file

OURS, PSEUDO, CENTER_BOX = "localizer", "pseudo", "center_box"


def boxes_by_source(workdir: Path, dataset: Dataset, split: str) -> dict[str, Predictions]:
    """Return the boxes of each source on the photos of a split.

    Each is joined with the predicted classes, as the paper does for DDT (Table 2).

    Args:
        workdir: of the run.
        dataset: the photos.
        split: one of its splits.

    Returns:
        Source -> its predictions, in the order of the records; only the sources that there are.
    """
    records = dataset.splits[split]
    sources: dict[str, Predictions] = {}
    predicted, pseudo = predictions_file(workdir, split), pseudo_boxes_file(workdir, split)
    if predicted.exists():
        sources[OURS] = read_predictions(predicted, records)
    classes = sources.get(OURS)
    if pseudo.exists():
        sources[PSEUDO] = join(read_predictions(pseudo, records, ("box",)), classes)
    if any(len(record.boxes) for record in records):
        box, _ = best_center_box(records)
        sources[CENTER_BOX] = join(Predictions(box=np.tile(box, (len(records), 1))), classes)
    return sources
