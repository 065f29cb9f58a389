"""What the stages that train a network share, and those that ask one: its start, its training, its answers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import identity
from wsol_jax.backbones.initialise import initialise
from wsol_jax.backbones.pretrained import load_weights
from wsol_jax.context import Context
from wsol_jax.data.records import Record
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.methods import METHODS
from wsol_jax.methods.classifier import classifier
from wsol_jax.methods.dawsol import dawsol
from wsol_jax.methods.joint import joint
from wsol_jax.methods.localizer import localizer
from wsol_jax.methods.method import Method, Variables
from wsol_jax.methods.networks import input_size
from wsol_jax.training.train import train, training_batches
from wsol_jax.watch import watch, watched

FOLDERS = {"localizer": "localizer", "classifier": "classifier", "joint": "joint", "train": "model"}
"""Stage -> where in the workdir it keeps its network."""


class Trained(NamedTuple):
    """A network that a stage trained.

    Attributes:
        stage: a key of `FOLDERS`.
        config: of that stage, as it was then.
        workdir: of its run.
    """

    stage: str
    config: ConfigDict
    workdir: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.workdir / FOLDERS[self.stage] / "checkpoints"


def other_run(workdir: Path, stage: str, key: str) -> Trained:
    """The network of a stage of another run, on whatever photos.

    Args:
        workdir: of the other run.
        stage: that trained it.
        key: that names the workdir, for the error.

    Raises:
        InputError: there is no finished one, or it was made by a version with other keys.
    """
    made_from = identity.read(workdir, stage)
    if made_from is None or not made_from.finished:
        raise InputError(f"{key}: {workdir} has no finished {stage}; expected the workdir of a run")
    config = ConfigDict(made_from.config)
    try:
        make_method(stage, config, classes=1)
    except AttributeError as error:
        raise InputError(f"{key}: the {stage} of {workdir} was made by another version of this program") from error
    return Trained(stage, config, workdir)


def make_method(stage: str, config: ConfigDict, classes: int) -> Method:
    """What a stage trains."""
    if stage == "localizer":
        return localizer(config)
    if stage == "train":
        method = METHODS[config.method](config, classes)
        return dawsol(method, config, classes) if "dawsol" in config and config.dawsol.use else method
    return {"classifier": classifier, "joint": joint}[stage](config, classes)


def train_stage(stage: str, boxes: np.ndarray | None, config: ConfigDict, context: Context) -> None:
    """Trains what a stage trains, from its weights or its last checkpoint.

    Args:
        stage: a key of `FOLDERS`.
        boxes: [n, 4] of the training photos, what is to be learned, normalised xyxy; None where no box is.
        config: of the stage.
        context: of the stage.
    """
    method, records = make_method(stage, config, len(context.dataset.classes)), training_records(context)
    variables, message = _initial_variables(method, stage, config, context)
    logging.info("%s: %s", stage, message)

    def batches(steps: range) -> Iterator[Batch]:
        return training_batches(context.dataset, records, boxes, config, context.seed, steps, context.mesh)

    folder = context.workdir / FOLDERS[stage]
    looking = watch(method, config, context) if "watch" in config else None
    train(folder, method, variables, batches, len(records), config, context.seed, context.mesh, looking)


def check_training(stage: str, config: ConfigDict, context: Context) -> None:
    """Raises InputError if there are no training photos, or no such network, or its weights are others."""
    training_records(context)
    if "watch" in config:
        watched(config.watch, context)
    _initial_variables(make_method(stage, config, len(context.dataset.classes)), stage, config, context)


def training_records(context: Context) -> Sequence[Record]:
    """The training photos.

    Raises:
        InputError: there are none.
    """
    if "train" not in context.dataset.splits:
        raise InputError("the dataset has no training photos")
    return context.dataset.splits["train"]


def chosen_splits(splits: str, context: Context) -> list[str]:
    """The comma-separated splits, each of which has to have photos.

    Raises:
        InputError: one has none.
    """
    names = [name.strip() for name in splits.split(",")]
    for name in names:
        if name not in context.dataset.splits:
            raise InputError(
                f"splits names {name!r}, of which there are no photos; expected {', '.join(context.dataset.splits)}"
            )
    return names


def _initial_variables(method: Method, stage: str, config: ConfigDict, context: Context) -> tuple[Variables, str]:
    """What a training starts from, and a line that says so."""
    size = input_size(config)
    variables = initialise(jax.random.key(context.seed), method.module, (1, size, size, 3))
    if not config.weights:
        return variables, f"{config.arch} starts from random weights"
    new_head = stage == "localizer" or config.new_head
    return load_weights(method.module, variables, config.weights, config.arch, new_head)
