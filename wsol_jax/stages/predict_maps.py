"""Predictions of score-map methods: classes, a map of each photo, and the box of its largest region.

A photo's map is that of its own class, or of the most probable one where it has no label. Where the most probable class
is the right one that is its map as well, and elsewhere neither Top-1 nor Top-5 localization depends on the map.
"""

from functools import partial

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import processes
from wsol_jax.arrays import save_as
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.paths import to_path
from wsol_jax.predictions.coco import write_coco
from wsol_jax.predictions.predictions import Predictions, join, top_classes
from wsol_jax.predictions.table import read_predictions, write_predictions
from wsol_jax.pseudo.many_boxes import cut_boxes, scored_boxes
from wsol_jax.stages.context import Context, chosen_splits
from wsol_jax.stages.networks import (
    Trained,
    grad_cam_network,
    make_method,
    predict_drawing,
    predict_split,
    require_classes,
    require_whole_photos,
    trained,
)
from wsol_jax.stages.predict_boxes import check_table
from wsol_jax.stages.workdir import activations_file, assignments_file, coco_file, logits_file, predictions_file
from wsol_jax.training.best_epoch import BEST, describe


def run(config: ConfigDict, context: Context) -> None:
    """Write the table, the COCO JSON, the logits and the maps of every split.

    The classes are the network's or, in two stages (DA-WSOL, section 4.1), those of a classifier in `classes_from`.

    Args:
        config: the keys of `predict`.
        context: of the stage.
    """
    network = _network(config, context)
    if network.checkpoints.name == BEST:
        logging.info("predict: %s", describe(network.checkpoints.parent))
    for split in chosen_splits(config.splits, context):
        _predict(network, split, config, context)
        processes.wait_for_first()  # here, and not through the devices in the predictions of the next split


def check(config: ConfigDict, context: Context) -> None:
    """Raise InputError if a split, a table of classes, another run's classifier or a drawing cannot be used."""
    require_whole_photos(config.test_geometry)
    for key in ("boxes_from", "localizer_from", "ten_crop", "mirror"):
        if config[key]:
            raise InputError(f"{key} is {config[key]!r}, but the boxes of a score-map run come from maps of one crop")
    check_table(config.classes_from, "top5_class", chosen_splits(config.splits, context), context)
    network = _network(config, context)
    make_method(network.stage, network.config, len(context.dataset.classes), network.drawing)
    if config.grad_cam_from:
        require_classes(network, "grad_cam_from", context)


def _network(config: ConfigDict, context: Context) -> Trained:
    """The network behind the maps: this run's, or another's classifier by Grad-CAM."""
    if not config.grad_cam_from:
        network = trained("train", context.configs["train"], context.workdir)
        return network._replace(drawing=predict_drawing(config))
    return grad_cam_network(config)


def _predict(network: Trained, split: str, config: ConfigDict, context: Context) -> None:
    records, table = context.dataset.splits[split], predictions_file(context.workdir, split)
    prediction = predict_split(
        network,
        split,
        context,
        geometry=config.test_geometry,
        batch_size=config.batch_size,
        of_own_class=True,
    )
    if prediction is None:
        return
    cut = partial(scored_boxes, threshold=config.box_threshold)
    boxes = Predictions(*cut_boxes(cut, prediction.map, f"boxes, {split}"))
    if config.classes_from:
        classes = read_predictions(to_path(config.classes_from), records, ("top5_class",))
    else:
        classes = top_classes(prediction.logits)
        write_atomically(logits_file(table), lambda file: np.save(file, prediction.logits))
    joined = join(boxes, classes)
    write_atomically(activations_file(table), lambda file: np.save(file, prediction.map))
    if prediction.assignment is not None:
        write_atomically(assignments_file(table), partial(save_as, array=prediction.assignment, dtype=np.int8))
    write_predictions(table, records, joined)
    write_coco(coco_file(table), records, joined, context.dataset.classes)
