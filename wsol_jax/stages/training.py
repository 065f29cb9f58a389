"""The keys and steps shared by the stages that train a network: localizer, classifier, joint, train."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.backbones import BACKBONES
from wsol_jax.backbones.initialise import initialise
from wsol_jax.data.render import Batch
from wsol_jax.data.splits import require_every_class
from wsol_jax.errors import InputError
from wsol_jax.methods.dawsol.keys import same_terms
from wsol_jax.methods.method import Method, Variables
from wsol_jax.methods.networks import input_size
from wsol_jax.paths import to_path
from wsol_jax.predictions.table import read_predictions
from wsol_jax.stages.context import Context, training_records
from wsol_jax.stages.networks import make_method
from wsol_jax.stages.work import Work, training_work
from wsol_jax.stages.workdir import checkpoints_folder, network_folder, pseudo_boxes_file
from wsol_jax.training.batches import training_batches
from wsol_jax.training.best_epoch import Select
from wsol_jax.training.loop import fit
from wsol_jax.training.optimiser import OPTIMISERS, SCHEDULES, same_rates
from wsol_jax.training.watch import Watch
from wsol_jax.weights.pretrained import load_weights


def defaults(**changes: Any) -> ConfigDict:
    """Return the keys of a training: the PSOL paper's values (section 4.2), ImageNet's where it gives two."""
    keys = ConfigDict(
        dict(
            arch="resnet50",  # a name in wsol_jax.backbones.BACKBONES
            arch_kwargs=ConfigDict(),  # arguments of the backbone: widths, depths, stride
            weights="",  # FILE.safetensors | .npz | .pth | 'pip:DISTRIBUTION'; '' starts from random ones
            new_head=True,  # replace the last layer of the weights; False takes it from the file, of one's own network
            dtype="float32",  # or 'bfloat16': what the network computes in; parameters stay float32
            freeze="",  # the last stage that is not trained, e.g. 'layer2'; '' trains the whole network
            trainable="all",  # or 'head': only the last layer, and what a variant adds (the starred rows of Table 3)
            size=0,  # side of the network's square input, pixels; 0: what its weights were trained with
            batch_size=256,  # over all devices (CUB: 64)
            epochs=6.0,  # (CUB: 30)
            optimiser="sgd",  # or 'adamw'
            learning_rate=1e-3,  # code: 1e-3 * batch_size / 256
            schedule="steps",  # of the rate: constant or in steps, see decay_every; or to zero: 'cosine', 'poly'
            decay_every=0.0,  # epochs between divisions of the rate by decay_factor; 0: constant
            decay_early=0.0,  # by how many epochs all divisions come earlier (code of DA-WSOL, wsolevaluation: 1)
            decay_factor=10.0,
            momentum=0.9,
            nesterov=False,
            weight_decay=5e-4,  # code: 1e-4
            new_rate=2.0,  # the new layers' rate, as a multiple (code: so for ResNet only)
            new_from="",  # a stage from which on layers have the new ones' rate too (wsolevaluation: ResNet's layer4)
            augment="psol",  # RandomResizedCrop(0.2, 1) that meets the box; 'wsol': 224 of 256; a mirror; or 'none'
            checkpoint_every=200,  # steps
            checkpoint_minutes=10.0,  # and at the latest after so many minutes; 0: only by steps
            log_every=10,  # steps
        )
    )
    keys.update(changes)
    return keys


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid; files and names of stages are for `check_training`."""
    checks.one_of(config, "arch", BACKBONES)
    checks.one_of(config, "dtype", ("float32", "bfloat16"))
    checks.one_of(config, "augment", ("psol", "wsol", "none"))
    checks.one_of(config, "optimiser", OPTIMISERS)
    checks.one_of(config, "schedule", SCHEDULES)
    checks.one_of(config, "trainable", ("all", "head"))
    checks.batch_size(config, devices)
    checks.positive(config, "epochs", "learning_rate", "decay_factor", "checkpoint_every", "log_every")
    checks.not_negative(
        config, "checkpoint_minutes", "size", "decay_every", "decay_early", "momentum", "weight_decay", "new_rate"
    )
    checks.require(config, "momentum", config.momentum < 1, "a number from 0 up to, but not including, 1")
    checks.require(config, "decay_factor", config.decay_factor >= 1, "1 or more: the rate is divided by it")
    checks.at_most(config, "epochs", 1e6)
    often = config.decay_every == 0 or config.epochs / config.decay_every <= 10_000
    checks.require(config, "decay_every", often, "0, or no more than 10000 divisions in all epochs")
    photos = config.batch_size * input_size(config) ** 2 * 3 * 4
    key = "size" if config.size > BACKBONES[config.arch].size else "batch_size"
    checks.memory(config, key, photos, f"a batch of {config.batch_size} photos of {input_size(config)} pixels")


WITHOUT_EFFECT = ("checkpoint_every", "checkpoint_minutes", "log_every")
"""The keys of a training that cannot change its result."""


def extends(was: Mapping[str, Any], now: Mapping[str, Any], context: Context, photos: int | None = None) -> str | None:
    """Return '' if a training continues from one of fewer epochs to what it would be with all of them; see `Stage`.

    Args:
        was: its keys then.
        now: its keys, of which `epochs` may be larger.
        context: of the stage.
        photos: in an epoch; None for all training photos once.
    """
    if {**was, "epochs": now["epochs"]} != now or was["epochs"] > now["epochs"]:
        return None
    before, after = ConfigDict(was), ConfigDict(now)
    steps_per_epoch = (photos or len(training_records(context))) / after.batch_size
    steps = math.ceil(before.epochs * steps_per_epoch)
    if not same_rates(before, after, steps_per_epoch, steps):
        return f"with schedule {after.schedule!r} the rates of its {before.epochs} epochs depend on their number"
    if "dawsol" in after and not same_terms(before, after, steps_per_epoch, steps):
        return f"DA-WSOL's loss in its {before.epochs} epochs depends on their number"
    return ""


def weight_files(config: ConfigDict) -> dict[str, Path]:
    """Return the weight file of a configuration, by name; {} where there is none or its content is pinned."""
    return {} if not config.weights or config.weights.startswith("pip:") else {config.weights: to_path(config.weights)}


def train_stage(
    stage: str,
    boxes: np.ndarray | None,
    config: ConfigDict,
    context: Context,
    watch: Watch | None = None,
    select: Select | None = None,
) -> None:
    """Train the network of a stage, from its weights or its last checkpoint.

    Args:
        stage: the name of the stage.
        boxes: [n, 4], the boxes of the training photos to learn, normalised xyxy; None where no box is learned.
        config: of the stage.
        context: of the stage.
        watch: a function that measures the network after every epoch.
        select: a function that measures it for the choice of the best epoch.
    """
    method, records = make_method(stage, config, len(context.dataset.classes)), training_records(context)
    variables, message = initial_variables(method, config, context.seed)
    logging.info("%s: %s", stage, message)

    def batches(steps: range) -> Iterator[Batch]:
        return training_batches(
            context.dataset, records, boxes, config=config, seed=context.seed, steps=steps, mesh=context.mesh
        )

    fit(
        network_folder(context.workdir, stage),
        method,
        variables,
        batches,
        photos=len(records),
        config=config,
        seed=context.seed,
        mesh=context.mesh,
        watch=watch,
        select=select,
    )


def work(stage: str, config: ConfigDict, context: Context) -> list[Work]:
    """Return the loop of `train_stage`, see `Stage`."""
    return [training_work(stage, config, context, checkpoints_folder(context.workdir, stage))]


def check_training(stage: str, config: ConfigDict, context: Context) -> None:
    """Raise InputError if photos or labels are missing, there is no such network, or its weights are of another."""
    records = training_records(context)
    unlabelled = sum(record.label < 0 for record in records)
    needs_labels = stage not in ("localizer", "c2am")
    if unlabelled and needs_labels:
        raise InputError(
            f"{unlabelled} training photos have no label, which the stage {stage} learns; expected a folder for each "
            "class, or --config.stages=pseudo_boxes,localizer,predict,boxes,report for boxes alone"
        )
    if needs_labels:
        require_every_class(context.dataset._replace(splits={"train": records}))
    method = make_method(stage, config, len(context.dataset.classes))
    variables, _ = initial_variables(method, config, context.seed)
    check_size(method, variables, input_size(config))


def check_size(method: Method, variables: Variables, size: int) -> None:
    """Raise InputError unless photos of a size are large enough to train on, for the backbone and all heads.

    Args:
        method: the method.
        variables: of its network.
        size: side of the network's input, pixels.
    """
    image = jax.ShapeDtypeStruct((1, size, size, 3), np.uint8)
    label = jax.ShapeDtypeStruct((1,), np.int32)
    key = jax.eval_shape(lambda: jax.random.key(0))

    def network(image: jax.Array, label: jax.Array, key: jax.Array) -> object:
        return method.network(variables, method.prepare(image), label, key, True)

    jax.eval_shape(network, image, label, key)


def boxes_to_learn(context: Context) -> np.ndarray:
    """Return the pseudo boxes of the training photos, float64 [n, 4], normalised xyxy."""
    file = pseudo_boxes_file(context.workdir, "train")
    return read_predictions(file, training_records(context), ("box",)).box


def initial_variables(method: Method, config: ConfigDict, seed: int) -> tuple[Variables, str]:
    """Return the variables that a training starts from, and a line for the log about their origin."""
    size = input_size(config)
    variables = initialise(jax.random.key(seed), method.module, (1, size, size, 3))
    if not config.weights:
        return variables, f"{config.arch} starts from random weights"
    return load_weights(method.module, variables, config.weights, config.arch, config.new_head)
