"""Predictions of PSOL (Algorithm 1, steps 4 and 5): a box and classes, each from its own network or from a file."""

import numpy as np
from ml_collections import ConfigDict

from wsol_jax import processes
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.methods.method import Prediction
from wsol_jax.paths import to_path
from wsol_jax.predictions.coco import write_coco
from wsol_jax.predictions.predictions import Predictions, join, top_classes
from wsol_jax.predictions.table import read_predictions, write_predictions
from wsol_jax.pseudo.confidence import box_confidence
from wsol_jax.stages.context import Context, chosen_splits
from wsol_jax.stages.networks import Trained, other_run, predict_split, trained
from wsol_jax.stages.workdir import coco_file, logits_file, predictions_file, predictions_folder


def run(config: ConfigDict, context: Context) -> None:
    """Write the table, the COCO JSON and the logits of every split.

    Args:
        config: the keys of `predict`.
        context: of the stage.
    """
    for split in chosen_splits(config.splits, context):
        records, table = context.dataset.splits[split], predictions_file(context.workdir, split)
        of_box, of_classes = _of_networks(split, config, context)
        if processes.is_first():
            predictions = _joined(split, of_box, of_classes, config, context)
            write_predictions(table, records, predictions)
            write_coco(coco_file(table), records, predictions, context.dataset.classes)
        processes.wait_for_first()  # here, and not through the devices in the predictions of the next split


def check(config: ConfigDict, context: Context) -> None:
    """Raise InputError if a split, file or run cannot be used, or if there are two sources for one thing."""
    splits = chosen_splits(config.splits, context)
    if config.maps != "cam":
        raise InputError(f"maps is {config.maps!r}, but this run has no score maps; expected 'cam'")
    if config.boxes_from and config.localizer_from:
        raise InputError("boxes_from and localizer_from are both given; expected one of them")
    if "joint" in context.configs and len({"localizer", "classifier"} & set(context.configs)):
        raise InputError(f"{context.workdir} has a joint network and separate ones; expected another workdir for each")
    check_table(config.boxes_from, "box", splits, context)
    check_table(config.classes_from, "top5_class", splits, context)
    _localizer(config, context)


def check_table(file: str, field: str, splits: list[str], context: Context) -> None:
    """Raise InputError if a table of another program or run has not got what these splits need; '' is no table.

    Args:
        file: the Parquet file.
        field: the required field of `Predictions`.
        splits: whose photos need a row.
        context: of the stage.
    """
    if not file:
        return
    if not to_path(file).is_file():
        raise InputError(f"{file}: no such file")
    if to_path(file).resolve().is_relative_to(predictions_folder(context.workdir).resolve()):
        raise InputError(f"{file} is an output of this run; expected another run's predictions")
    classes = len(context.dataset.classes)
    for split in splits:
        predictions = read_predictions(to_path(file), context.dataset.splits[split], (field,))
        if field == "top5_class" and not ((predictions.top5_class >= 0) & (predictions.top5_class < classes)).all():
            raise InputError(
                f"{file}: it predicts classes {predictions.top5_class.min()} to {predictions.top5_class.max()}; "
                f"expected 0 to {classes - 1}, the classes of these photos"
            )


def _localizer(config: ConfigDict, context: Context) -> Trained | None:
    """The network that predicts boxes, if there is one."""
    if config.localizer_from:
        return other_run(to_path(config.localizer_from), "localizer", "localizer_from")
    return _own("localizer", context)


def _own(stage: str, context: Context) -> Trained | None:
    names = [name for name in (stage, "joint") if name in context.configs]
    return trained(names[0], context.configs[names[0]], context.workdir) if names else None


def _of_networks(split: str, config: ConfigDict, context: Context) -> tuple[Prediction | None, Prediction | None]:
    """The predictions of the localizer and of the classifier, in the first process; None where there is none."""
    localizer = None if config.boxes_from else _localizer(config, context)
    classifier = None if config.classes_from else _own("classifier", context)
    keys = {"geometry": config.test_geometry, "batch_size": config.batch_size}
    of_box = predict_split(localizer, split, context, **keys, mirror=config.mirror) if localizer else None
    if localizer == classifier and not config.ten_crop:
        return of_box, of_box
    return of_box, predict_split(classifier, split, context, **keys, ten_crops=config.ten_crop) if classifier else None


def _joined(
    split: str, of_box: Prediction | None, of_classes: Prediction | None, config: ConfigDict, context: Context
) -> Predictions:
    """The box and the classes of each photo, of networks or files; the logits are written."""
    records, box, classes = context.dataset.splits[split], None, None
    if config.boxes_from:
        box = read_predictions(to_path(config.boxes_from), records, ("box",))
    elif of_box is not None:
        box = Predictions(of_box.box.astype(np.float64), box_confidence(of_box))
    if config.classes_from:
        classes = read_predictions(to_path(config.classes_from), records, ("top5_class",))
    elif of_classes is not None:
        file = logits_file(predictions_file(context.workdir, split))
        write_atomically(file, lambda out: np.save(out, of_classes.logits))
        classes = top_classes(of_classes.logits)
    return join(box, classes)
