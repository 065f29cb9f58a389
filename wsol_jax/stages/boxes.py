"""The stage `boxes`: one box for every photo of all splits, of the localizer or the pseudo boxes, in all formats.

The choice needs no true box: where confidences are calibrated probabilities that a box is right, their mean is the
share of right boxes to expect of a source. A localizer is too sure of the photos that it was trained on, so only the
others count. Its boxes are delivered unless the pseudo boxes are clearly more confident: by more than twice the
standard error of the difference. Without other photos, or where a source has scores of another kind, pseudo boxes are.
Boxes that people corrected are delivered as they are, and a photo that they marked as without an object has none.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.predictions.export import export_boxes
from wsol_jax.predictions.predictions import Predictions, concatenate
from wsol_jax.stages.box_sources import MEAN, OURS, PSEUDO, boxes_by_source
from wsol_jax.stages.context import Context
from wsol_jax.stages.corrections import corrected_names
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.workdir import activations_file, boxes_folder, predictions_file

SOURCES = ("auto", PSEUDO, OURS, MEAN)


def defaults() -> ConfigDict:
    """Return the keys of `boxes` with their defaults."""
    return ConfigDict(
        dict(
            source="auto",  # 'pseudo', 'localizer', their mean, 'mean_box'; 'auto': one of the first two, by confidence
        )
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    del devices
    checks.one_of(config, "source", SOURCES)


def run(config: ConfigDict, context: Context) -> None:
    """Write boxes/: boxes.parquet, boxes.csv, coco.json, label_studio.json and yolo/."""
    candidates = _candidates(context)
    confidence = _confidence_of_new(candidates, context)
    source = config.source
    if source == "auto":
        source = _chosen([name for name in candidates if name != MEAN], confidence)
    if source not in candidates:
        raise InputError(f"boxes.source is {config.source!r}; it has no box for every photo, {_names(candidates)}")
    records, delivered = _with_corrections(candidates[source], candidates, context)
    folder = boxes_folder(context.workdir)
    export_boxes(folder, records, delivered, context.dataset.classes, version=source)
    shares = ", ".join(f"{name} {100 * score.mean():.0f} %" for name, score in confidence.items())
    logging.info("boxes: %s, of %d photos: %s", source, len(records), folder)
    if shares:
        logging.info("boxes: right, by their confidence on photos that were not trained on: %s", shares)


def _candidates(context: Context) -> dict[str, Predictions]:
    """The sources that have a box for every photo of every split."""
    by_split = [boxes_by_source(context.workdir, context.dataset, split) for split in context.dataset.splits]
    return {
        source: concatenate([sources[source] for sources in by_split])
        for source in (PSEUDO, OURS, MEAN)
        if all(source in sources and sources[source].box is not None for sources in by_split)
    }


def _chosen(names: Sequence[str], confidence: Mapping[str, np.ndarray]) -> str:
    """The source to deliver, of pseudo boxes and the localizer as far as there are any; '' if there is none."""
    if len(names) < 2:
        return next(iter(names), "")
    if unknown := [name for name in names if name not in confidence]:
        logging.info(
            "boxes: %s; no calibrated confidence of %s on photos that were not trained on; boxes.source takes another",
            *(PSEUDO, " and ".join(unknown)),
        )
        return PSEUDO
    difference = confidence[PSEUDO] - confidence[OURS]
    standard_error = difference.std() / np.sqrt(len(difference))
    return PSEUDO if difference.mean() > 2 * standard_error else OURS


def _are_calibrated(context: Context) -> dict[str, bool]:
    """Source -> whether its scores are probabilities that a box is right.

    Those of score maps are means of a map, those of true boxes 1, those of a file unknown. A localizer has scores only
    if they are confidences.
    """
    pseudo, predict = context.configs.get("pseudo_boxes"), context.configs.get("predict")
    has_maps = any(
        activations_file(predictions_file(context.workdir, split)).exists() for split in context.dataset.splits
    )
    by_ddt = bool(pseudo) and (pseudo.source == "ddt" or (pseudo.source.endswith(".json") and not pseudo.cam_from))
    by_localizer = bool(predict) and not predict.boxes_from and not has_maps
    return {PSEUDO: by_ddt, OURS: by_localizer, MEAN: by_ddt}


def _confidence_of_new(candidates: Mapping[str, Predictions], context: Context) -> dict[str, np.ndarray]:
    """Source -> the confidence [m] of its boxes of the photos that were not trained on; {} without such photos.

    Only sources whose scores are confidences are there.
    Photos that people have seen do not count either: what is delivered of them is the same for every source.
    """
    seen = set().union(*corrected_names(context.workdir))
    splits = context.dataset.splits
    is_new = np.array([split != "train" and r.path not in seen for split in splits for r in splits[split]], bool)
    calibrated = _are_calibrated(context)
    scored = {name: boxes.score for name, boxes in candidates.items() if calibrated[name] and boxes.score is not None}
    return {source: score[is_new].astype(np.float64) for source, score in scored.items() if is_new.any()}


def _with_corrections(
    chosen: Predictions, candidates: dict[str, Predictions], context: Context
) -> tuple[list[Record], Predictions]:
    """The photos that show an object, with the boxes that people corrected in place of the chosen ones."""
    records = [record for of_split in context.dataset.splits.values() for record in of_split]
    corrected, left_out = corrected_names(context.workdir)
    if not corrected:
        return records, chosen
    is_corrected = np.array([record.path in corrected for record in records])
    kept = np.array([record.path not in left_out for record in records])
    by_hand, count = candidates[PSEUDO], int((~kept).sum())
    logging.info("boxes: %d were corrected by hand; %d photos show no object and have none", is_corrected.sum(), count)
    merged = chosen._replace(
        box=np.where(is_corrected[:, None], by_hand.box, chosen.box),
        score=None if chosen.score is None else np.where(is_corrected, by_hand.score, chosen.score),
        fallback=None if chosen.fallback is None else np.where(is_corrected, False, chosen.fallback),
    )
    arrays = [None if array is None else array[kept] for array in merged]
    return [record for record, is_kept in zip(records, kept, strict=True) if is_kept], Predictions(*arrays)


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
