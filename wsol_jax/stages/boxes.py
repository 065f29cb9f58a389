"""The stage `boxes`: one box for every photo of all splits, from the most confident source, in all formats.

The choice needs no true box: confidences are calibrated probabilities that a box is right, so that their mean is the
share of right boxes to expect of a source. A localizer is too sure of the photos that it was trained on; where there
are pseudo boxes, the choice is between them and their mean with the localizer's, whose confidence is their agreement.
"""

from collections.abc import Mapping

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.errors import InputError
from wsol_jax.predictions.export import export_boxes
from wsol_jax.predictions.predictions import Predictions, concatenate
from wsol_jax.stages.box_sources import MEAN, OURS, PSEUDO, boxes_by_source
from wsol_jax.stages.context import Context
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.workdir import boxes_folder

SOURCES = ("auto", PSEUDO, OURS, MEAN)


def defaults() -> ConfigDict:
    """Return the keys of `boxes` with their defaults."""
    return ConfigDict(
        dict(
            source="auto",  # 'pseudo', 'localizer', their mean, 'mean_box'; 'auto': by confidence, without any true box
        )
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    del devices
    checks.one_of(config, "source", SOURCES)


def run(config: ConfigDict, context: Context) -> None:
    """Write boxes/: boxes.parquet, boxes.csv, coco.json, label_studio.json and yolo/."""
    candidates = _candidates(context)
    expected = {source: float(np.mean(boxes.score)) for source, boxes in candidates.items() if boxes.score is not None}
    source = config.source
    if source == "auto":
        source = _most_confident(candidates, expected)
    if source not in candidates:
        raise InputError(f"boxes.source is {config.source!r}; it has no box for every photo, {_names(candidates)}")
    records = [record for of_split in context.dataset.splits.values() for record in of_split]
    folder = boxes_folder(context.workdir)
    export_boxes(folder, records, candidates[source], context.dataset.classes, version=source)
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in expected.items())
    logging.info("boxes: %s, of %d photos (right, by confidence: %s): %s", source, len(records), shares, folder)


def _candidates(context: Context) -> dict[str, Predictions]:
    """The sources that have a box for every photo of every split."""
    by_split = [boxes_by_source(context.workdir, context.dataset, split) for split in context.dataset.splits]
    return {
        source: concatenate([sources[source] for sources in by_split])
        for source in (PSEUDO, OURS, MEAN)
        if all(source in sources and sources[source].box is not None for sources in by_split)
    }


def _most_confident(candidates: Mapping[str, Predictions], expected: Mapping[str, float]) -> str:
    """The source to deliver; '' if there is none."""
    if PSEUDO in candidates:
        expected = {source: share for source, share in expected.items() if source != OURS}
    return max(expected, key=expected.get) if expected else next(iter(candidates), "")


def _names(candidates: dict[str, Predictions]) -> str:
    return f"but {' and '.join(candidates)} have" if candidates else "nor has any other source; see predict.splits"


STAGE = Stage(
    key="boxes",
    defaults=defaults,
    check_keys=check_keys,
    inputs=("pseudo_boxes", "predict"),
    outputs=("boxes",),
    run=run,
)
