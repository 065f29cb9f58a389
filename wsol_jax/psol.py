"""PSOL (Zhang, Cao, Wu; CVPR 2020, Algorithm 1), stage by stage: pseudo boxes, localizer, classifier, both joined."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from scipy.special import softmax

from wsol_jax.backbones import BACKBONES
from wsol_jax.backbones.initialise import initialise
from wsol_jax.backbones.pretrained import load_weights
from wsol_jax.context import Context
from wsol_jax.data.plan import test_window
from wsol_jax.data.records import Record
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.methods.classifier import classifier
from wsol_jax.methods.localizer import localizer
from wsol_jax.methods.method import Method, Variables
from wsol_jax.methods.predict import predict_photos
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


def train_localizer(config: ConfigDict, context: Context) -> None:
    """Step 2: a network that regresses the pseudo boxes, without labels."""
    records = _training_records(context)
    boxes = read_predictions(boxes_file(context.workdir / "pseudo_boxes", "train"), records).box
    _train("localizer", localizer(config), True, boxes, config, context)


def train_classifier(config: ConfigDict, context: Context) -> None:
    """Step 3: a network that tells the classes, without boxes."""
    method = classifier(config, len(context.dataset.classes))
    _train("classifier", method, config.new_head, None, config, context)


def _train(
    name: str, method: Method, new_head: bool, boxes: np.ndarray | None, config: ConfigDict, context: Context
) -> None:
    variables, message = _initial_variables(method, new_head, config, context)
    logging.info("%s: %s", name, message)
    records = _training_records(context)

    def batches(steps: range) -> Iterator[Batch]:
        return training_batches(context.dataset, records, boxes, config, context.seed, steps, context.mesh)

    train(context.workdir / name, method, variables, batches, len(records), config, context.seed, context.mesh)


def check_localizer(config: ConfigDict, context: Context) -> None:
    """Raises InputError if there are no training photos, or no such network, or its weights are others."""
    _training_records(context)
    _initial_variables(localizer(config), True, config, context)


def check_classifier(config: ConfigDict, context: Context) -> None:
    """Raises InputError if there are no training photos, or no such network, or its weights are others."""
    _training_records(context)
    _initial_variables(classifier(config, len(context.dataset.classes)), config.new_head, config, context)


def _training_records(context: Context) -> Sequence[Record]:
    if "train" not in context.dataset.splits:
        raise InputError("the dataset has no training photos")
    return context.dataset.splits["train"]


def _initial_variables(method: Method, new_head: bool, config: ConfigDict, context: Context) -> tuple[Variables, str]:
    """What a training starts from, and a line that says so."""
    variables = initialise(jax.random.key(context.seed), method.module, (1, config.size, config.size, 3))
    if not config.weights:
        return variables, f"{config.arch} starts from random weights"
    return load_weights(method.module, variables, config.weights, config.arch, new_head)


def predict(config: ConfigDict, context: Context) -> None:
    """Steps 4 and 5: a box and classes for every photo of `splits`, each from its own network or from a file."""
    for split in _splits(config, context):
        records = context.dataset.splits[split]
        box = _predicted("localizer", config.boxes_from, ("box",), split, config, context)
        classes = _predicted("classifier", config.classes_from, ("top5_class",), split, config, context)
        joined = join(box, classes)
        folder = context.workdir / "predictions"
        write_predictions(folder / f"{split}.parquet", records, joined)
        write_coco(folder / f"{split}.coco.json", records, joined, context.dataset.classes)


def check_predict(config: ConfigDict, context: Context) -> None:
    """Raises InputError if a split or a file is not there."""
    _splits(config, context)
    for file in filter(None, (config.boxes_from, config.classes_from)):
        if not Path(file).is_file():
            raise InputError(f"{file}: no such file")


def _splits(config: ConfigDict, context: Context) -> list[str]:
    names = [name.strip() for name in config.splits.split(",")]
    for name in names:
        if name not in context.dataset.splits:
            raise InputError(
                f"splits names {name!r}, of which there are no photos; expected {', '.join(context.dataset.splits)}"
            )
    return names


def join(box: Predictions | None, classes: Predictions | None) -> Predictions:
    """The box of one source and the classes of another; None for a source that says nothing."""
    box, classes = box or Predictions(), classes or Predictions()
    return box._replace(top5_class=classes.top5_class, top5_prob=classes.top5_prob)


def _predicted(
    stage: str, file: str, needs: tuple[str, ...], split: str, config: ConfigDict, context: Context
) -> Predictions | None:
    """What a file, or else the network of a stage, says about a split; None if there is neither."""
    records = context.dataset.splits[split]
    if file:
        return read_predictions(Path(file), records, needs)
    if stage not in context.configs:
        return None
    trained = context.configs[stage]
    method = localizer(trained) if stage == "localizer" else classifier(trained, len(context.dataset.classes))
    architecture = BACKBONES[trained.arch]
    window = test_window(config.test_geometry, architecture.size / architecture.resize)
    variables = load_variables(context.workdir / stage / "checkpoints")
    found = predict_photos(
        method,
        variables,
        context.dataset,
        records,
        window,
        trained.size,
        config.batch_size,
        f"{stage}, {split}",
        context.mesh,
    )
    if stage == "localizer":
        return Predictions(box=found.box.astype(np.float64))
    logits = context.workdir / "predictions" / f"{split}.logits.npy"
    write_atomically(logits, lambda out: np.save(out, found.logits))
    return top_classes(found.logits)


def top_classes(logits: np.ndarray) -> Predictions:
    """The five likeliest classes of logits [n, k] and their probabilities, likeliest first."""
    probability = softmax(logits.astype(np.float64), axis=-1)
    best = np.argsort(-probability, axis=-1, kind="stable")[:, :TOP]
    likely = np.take_along_axis(probability, best, axis=-1)
    return Predictions(top5_class=best.astype(np.int32), top5_prob=likely.astype(np.float32))
