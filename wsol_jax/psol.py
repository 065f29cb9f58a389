"""PSOL (Zhang, Cao, Wu; CVPR 2020, Algorithm 1), stage by stage: pseudo boxes, localizer, classifier, both joined."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from scipy.special import softmax

from wsol_jax import identity
from wsol_jax.backbones.initialise import initialise
from wsol_jax.backbones.pretrained import load_weights
from wsol_jax.context import Context
from wsol_jax.data.plan import WHOLE, test_window
from wsol_jax.data.records import Record
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.methods.classifier import classifier
from wsol_jax.methods.joint import joint
from wsol_jax.methods.localizer import localizer
from wsol_jax.methods.method import Method, Prediction, Variables
from wsol_jax.methods.networks import input_size, resize_size
from wsol_jax.methods.predict import predict_photos
from wsol_jax.methods.ten_crop import ten_crop
from wsol_jax.pseudo.stage import boxes_file, make_pseudo_boxes
from wsol_jax.report.coco import write_coco
from wsol_jax.tables import Predictions, read_predictions, write_predictions
from wsol_jax.training.checkpoints import load_variables
from wsol_jax.training.train import train, training_batches

TOP = 5


def pseudo_boxes(config: ConfigDict, context: Context) -> None:
    """Step 1: boxes for the training photos, without anybody drawing one."""
    _training_records(context)
    make_pseudo_boxes(config, context.seed, context.dataset, context.workdir / "pseudo_boxes", context.mesh)


def files_of_pseudo_boxes(config: ConfigDict) -> list[Path]:
    """The files of others that `pseudo_boxes` reads."""
    return [Path(config.source)] if config.source.endswith(".parquet") else []


def train_localizer(config: ConfigDict, context: Context) -> None:
    """Step 2: a network that regresses the pseudo boxes, without labels."""
    _train("localizer", config, context)


def train_classifier(config: ConfigDict, context: Context) -> None:
    """Step 3: a network that tells the classes, without boxes."""
    _train("classifier", config, context)


def train_joint(config: ConfigDict, context: Context) -> None:
    """Steps 2 and 3 in one network (-Joint)."""
    _train("joint", config, context)


def _train(stage: str, config: ConfigDict, context: Context) -> None:
    method, records, boxes = _method(stage, config, context), _training_records(context), None
    variables, message = _initial_variables(method, stage, config, context)
    logging.info("%s: %s", stage, message)
    if stage != "classifier":
        boxes = read_predictions(boxes_file(context.workdir / "pseudo_boxes", "train"), records, ("box",)).box

    def batches(steps: range) -> Iterator[Batch]:
        return training_batches(context.dataset, records, boxes, config, context.seed, steps, context.mesh)

    train(context.workdir / stage, method, variables, batches, len(records), config, context.seed, context.mesh)


def _method(stage: str, config: ConfigDict, context: Context) -> Method:
    if stage == "localizer":
        return localizer(config)
    make = {"classifier": classifier, "joint": joint}[stage]
    return make(config, len(context.dataset.classes))


def check_localizer(config: ConfigDict, context: Context) -> None:
    """Raises InputError if there are no training photos, or no such network, or its weights are others."""
    _check_training("localizer", config, context)


def check_classifier(config: ConfigDict, context: Context) -> None:
    """Raises InputError if there are no training photos, or no such network, or its weights are others."""
    _check_training("classifier", config, context)


def check_joint(config: ConfigDict, context: Context) -> None:
    """Raises InputError if there are no training photos, or no such network, or its weights are others."""
    _check_training("joint", config, context)


def _check_training(stage: str, config: ConfigDict, context: Context) -> None:
    _training_records(context)
    _initial_variables(_method(stage, config, context), stage, config, context)


def _training_records(context: Context) -> Sequence[Record]:
    if "train" not in context.dataset.splits:
        raise InputError("the dataset has no training photos")
    return context.dataset.splits["train"]


def _initial_variables(method: Method, stage: str, config: ConfigDict, context: Context) -> tuple[Variables, str]:
    """What a training starts from, and a line that says so."""
    size = input_size(config)
    variables = initialise(jax.random.key(context.seed), method.module, (1, size, size, 3))
    if not config.weights:
        return variables, f"{config.arch} starts from random weights"
    new_head = stage == "localizer" or config.new_head
    return load_weights(method.module, variables, config.weights, config.arch, new_head)


class Trained(NamedTuple):
    """A network that a stage trained.

    Attributes:
        stage: 'localizer', 'classifier' or 'joint'.
        config: of that stage, as it was then.
        workdir: of its run.
    """

    stage: str
    config: ConfigDict
    workdir: Path


def predict(config: ConfigDict, context: Context) -> None:
    """Steps 4 and 5: a box and classes for every photo of `splits`, each from its own network or from a file."""
    for split in _splits(config, context):
        records = context.dataset.splits[split]
        joined = _predict_split(split, config, context)
        folder = context.workdir / "predictions"
        write_predictions(folder / f"{split}.parquet", records, joined)
        write_coco(folder / f"{split}.coco.json", records, joined, context.dataset.classes)


def files_of_predict(config: ConfigDict) -> list[Path]:
    """The files of others that `predict` reads; for another run's localizer the one that says what it was made from."""
    files = [Path(file) for file in (config.boxes_from, config.classes_from) if file]
    return files + ([identity.file_of(Path(config.localizer_from), "localizer")] if config.localizer_from else [])


def check_predict(config: ConfigDict, context: Context) -> None:
    """Raises InputError if a split, a file or a run is not there, or there are two networks for one thing."""
    _splits(config, context)
    for file in filter(None, (config.boxes_from, config.classes_from)):
        if not Path(file).is_file():
            raise InputError(f"{file}: no such file")
    if config.boxes_from and config.localizer_from:
        raise InputError("boxes_from and localizer_from are both given; expected one of them")
    if "joint" in context.configs and len({"localizer", "classifier"} & set(context.configs)):
        raise InputError(f"{context.workdir} has a joint network and separate ones; expected another workdir for each")
    _localizer(config, context)


def _splits(config: ConfigDict, context: Context) -> list[str]:
    names = [name.strip() for name in config.splits.split(",")]
    for name in names:
        if name not in context.dataset.splits:
            raise InputError(
                f"splits names {name!r}, of which there are no photos; expected {', '.join(context.dataset.splits)}"
            )
    return names


def _localizer(config: ConfigDict, context: Context) -> Trained | None:
    """The network that draws boxes, if there is one."""
    if config.localizer_from:
        return other_localizer(Path(config.localizer_from))
    return _own("localizer", context)


def _own(stage: str, context: Context) -> Trained | None:
    found = [name for name in (stage, "joint") if name in context.configs]
    return Trained(found[0], context.configs[found[0]], context.workdir) if found else None


def other_localizer(workdir: Path) -> Trained:
    """The localizer of another run, on whatever photos.

    Raises:
        InputError: there is no finished one.
    """
    made_from = identity.read(workdir, "localizer")
    if made_from is None or not made_from.finished:
        raise InputError(f"localizer_from: {workdir} has no finished localizer; expected the workdir of a run")
    return Trained("localizer", ConfigDict(made_from.config), workdir)


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


def join(box: Predictions | None, classes: Predictions | None) -> Predictions:
    """The box of one source and the classes of another; None for a source that says nothing."""
    box, classes = box or Predictions(), classes or Predictions()
    return box._replace(top5_class=classes.top5_class, top5_prob=classes.top5_prob)


def _say(trained: Trained, crops: bool, split: str, config: ConfigDict, context: Context) -> Prediction:
    """What a network says about a split: of ten crops of each photo, or of one."""
    method = _method(trained.stage, trained.config, context)
    size, resized = input_size(trained.config), resize_size(trained.config)
    window = test_window(config.test_geometry, size / resized)
    if crops:
        method, window, size = ten_crop(method, size), WHOLE, resized
    return predict_photos(
        method,
        load_variables(trained.workdir / trained.stage / "checkpoints"),
        context.dataset,
        context.dataset.splits[split],
        window,
        size,
        config.batch_size,
        f"{trained.stage}, {split}",
        context.mesh,
    )


def top_classes(logits: np.ndarray) -> Predictions:
    """The five likeliest classes of logits [n, k] and their probabilities, likeliest first."""
    return likeliest(softmax(logits.astype(np.float64), axis=-1))


def likeliest(probability: np.ndarray) -> Predictions:
    """The five likeliest classes of probabilities [n, k], likeliest first; of equals the first."""
    best = np.argsort(-probability, axis=-1, kind="stable")[:, :TOP]
    likely = np.take_along_axis(probability, best, axis=-1)
    return Predictions(top5_class=best.astype(np.int32), top5_prob=likely.astype(np.float32))
