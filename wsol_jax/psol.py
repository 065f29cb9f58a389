"""PSOL (Zhang, Cao, Wu; CVPR 2020, Algorithm 1), stage by stage: pseudo boxes, localizer, classifier, both joined."""

from functools import partial
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from wsol_jax import identity, maps
from wsol_jax.context import Context
from wsol_jax.data.photos import in_threads
from wsol_jax.data.plan import WHOLE, test_window
from wsol_jax.errors import InputError
from wsol_jax.evaluation.score_maps import score_map
from wsol_jax.files import write_atomically
from wsol_jax.methods.method import Prediction
from wsol_jax.methods.networks import input_size, resize_size
from wsol_jax.methods.predict import predict_photos
from wsol_jax.methods.ten_crop import ten_crop
from wsol_jax.predictions import join, top_classes
from wsol_jax.pseudo.stage import boxes_file, make_pseudo_boxes, write_drawn
from wsol_jax.report.coco import write_coco
from wsol_jax.tables import Predictions, read_predictions, write_predictions
from wsol_jax.trained import (
    Trained,
    check_training,
    chosen_splits,
    make_method,
    other_run,
    train_stage,
    training_records,
)
from wsol_jax.training.checkpoints import load_variables


def pseudo_boxes(config: ConfigDict, context: Context) -> None:
    """Step 1: boxes for the training photos, without anybody drawing one.

    Raises:
        InputError: there are no training photos; or what `pseudo.source` asks for is not there.
    """
    training_records(context)
    if (config.source == "cam") != bool(config.cam_from):
        raise InputError(
            f"pseudo.source is {config.source!r} and pseudo.cam_from {config.cam_from!r}; expected 'cam' and the "
            "workdir of a score-map run, or neither"
        )
    folder = context.workdir / "pseudo_boxes"
    if config.source == "cam":
        _boxes_of_maps(config, folder, context)
    else:
        make_pseudo_boxes(config, context.seed, context.dataset, folder, context.mesh)


def files_of_pseudo_boxes(config: ConfigDict) -> list[Path]:
    """The files of others that `pseudo_boxes` reads; for another run the one that says what its maps are made from."""
    if config.source == "cam":
        return [identity.file_of(Path(config.cam_from), "train")]
    return [Path(config.source)] if config.source.endswith(".parquet") else []


def _boxes_of_maps(config: ConfigDict, folder: Path, context: Context) -> None:
    """What the paper compares DDT with: boxes of another method's maps of whole photos, each of the photo's own class.

    A box's score is the mean of its map in its region, in [0, 1]; heat_SPLIT.npy holds the maps, float16
    [n, h, w], each stretched to [0, 1].
    """
    trained = other_run(Path(config.cam_from), "train", "pseudo.cam_from")
    maps.require_classes(trained, "pseudo.cam_from", context)
    for split, records in context.dataset.splits.items():
        found = maps.say(trained, split, "resize", config.batch_size, context).map
        drawn = in_threads(partial(maps.scored_box, threshold=config.cam_threshold), found)
        boxes = Predictions(*(np.array(column) for column in zip(*drawn, strict=True)))
        heat = np.stack([score_map(activation, activation.shape[::-1]) for activation in found])
        write_drawn(folder, split, records, boxes, heat)


def train_localizer(config: ConfigDict, context: Context) -> None:
    """Step 2: a network that regresses the pseudo boxes, without labels."""
    train_stage("localizer", _boxes_to_learn(context), config, context)


def train_classifier(config: ConfigDict, context: Context) -> None:
    """Step 3: a network that tells the classes, without boxes."""
    train_stage("classifier", None, config, context)


def train_joint(config: ConfigDict, context: Context) -> None:
    """Steps 2 and 3 in one network (-Joint)."""
    train_stage("joint", _boxes_to_learn(context), config, context)


def _boxes_to_learn(context: Context) -> np.ndarray:
    file = boxes_file(context.workdir / "pseudo_boxes", "train")
    return read_predictions(file, training_records(context), ("box",)).box


def check_localizer(config: ConfigDict, context: Context) -> None:
    """Raises InputError if there are no training photos, or no such network, or its weights are others."""
    check_training("localizer", config, context)


def check_classifier(config: ConfigDict, context: Context) -> None:
    """Raises InputError if there are no training photos, or no such network, or its weights are others."""
    check_training("classifier", config, context)


def check_joint(config: ConfigDict, context: Context) -> None:
    """Raises InputError if there are no training photos, or no such network, or its weights are others."""
    check_training("joint", config, context)


def predict(config: ConfigDict, context: Context) -> None:
    """Steps 4 and 5: a box and classes for every photo of `splits`, each from its own network or from a file."""
    for split in chosen_splits(config.splits, context):
        records = context.dataset.splits[split]
        joined = _predict_split(split, config, context)
        folder = context.workdir / "predictions"
        write_predictions(folder / f"{split}.parquet", records, joined)
        write_coco(folder / f"{split}.coco.json", records, joined, context.dataset.classes)


def files_of_predict(config: ConfigDict) -> list[Path]:
    """The files of others that `predict` reads; for another run the one that says what its network was made from."""
    files = [Path(file) for file in (config.boxes_from, config.classes_from) if file]
    runs = {"localizer": config.localizer_from, "classifier": config.grad_cam_from}
    return files + [identity.file_of(Path(run), stage) for stage, run in runs.items() if run]


def check_predict(config: ConfigDict, context: Context) -> None:
    """Raises InputError if a split, a file or a run is not there, or there are two networks for one thing."""
    chosen_splits(config.splits, context)
    for file in filter(None, (config.boxes_from, config.classes_from)):
        maps.require_file_of_others(file, context)
    if config.boxes_from and config.localizer_from:
        raise InputError("boxes_from and localizer_from are both given; expected one of them")
    if "joint" in context.configs and len({"localizer", "classifier"} & set(context.configs)):
        raise InputError(f"{context.workdir} has a joint network and separate ones; expected another workdir for each")
    _localizer(config, context)


def _localizer(config: ConfigDict, context: Context) -> Trained | None:
    """The network that draws boxes, if there is one."""
    if config.localizer_from:
        return other_run(Path(config.localizer_from), "localizer", "localizer_from")
    return _own("localizer", context)


def _own(stage: str, context: Context) -> Trained | None:
    found = [name for name in (stage, "joint") if name in context.configs]
    return Trained(found[0], context.configs[found[0]], context.workdir) if found else None


def _predict_split(split: str, config: ConfigDict, context: Context) -> Predictions:
    records, box, classes = context.dataset.splits[split], None, None
    locates, classifies = _localizer(config, context), _own("classifier", context)
    both = locates is not None and locates == classifies and not config.ten_crop
    if config.boxes_from:
        box = read_predictions(Path(config.boxes_from), records, ("box",))
    elif locates:
        found = _say(locates, False, split, config, context)
        box = Predictions(box=found.box.astype(np.float64))
    if config.classes_from:
        classes = read_predictions(Path(config.classes_from), records, ("top5_class",))
    elif classifies:
        logits = found.logits if both else _say(classifies, config.ten_crop, split, config, context).logits
        file = context.workdir / "predictions" / f"{split}.logits.npy"
        write_atomically(file, lambda out: np.save(out, logits))
        classes = top_classes(logits)
    return join(box, classes)


def _say(trained: Trained, crops: bool, split: str, config: ConfigDict, context: Context) -> Prediction:
    """What a network says about a split: of ten crops of each photo, or of one."""
    method = make_method(trained.stage, trained.config, len(context.dataset.classes))
    size, resized = input_size(trained.config), resize_size(trained.config)
    window = test_window(config.test_geometry, size / resized)
    if crops:
        method, window, size = ten_crop(method, size), WHOLE, resized
    return predict_photos(
        method,
        load_variables(trained.checkpoints),
        context.dataset,
        context.dataset.splits[split],
        window,
        size,
        config.batch_size,
        f"{trained.stage}, {split}",
        context.mesh,
    )
