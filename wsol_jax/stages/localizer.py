"""The stage `localizer` (PSOL, Algorithm 1, step 2): a network that regresses the pseudo boxes, without labels."""

from collections.abc import Iterator
from functools import partial

import jax
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks, devices, processes
from wsol_jax.data.render import Batch
from wsol_jax.losses.box import BOX_LOSSES
from wsol_jax.methods.localizer import HEADS, features_of, localizer, on_features
from wsol_jax.methods.networks import input_size
from wsol_jax.stages import training
from wsol_jax.stages.context import Context, training_records
from wsol_jax.stages.corrections import without_left_out
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.work import Work, feature_work
from wsol_jax.stages.workdir import features_file, network_folder
from wsol_jax.training.kept_features import feature_batches, keep_features
from wsol_jax.training.loop import fit


def defaults() -> ConfigDict:
    """Return the keys of `localizer` with their defaults."""
    return training.defaults(
        head="pooled",  # on the mean of the last map (PSOL); or 'spatial', on the map itself, of a frozen network
        new_head=True,  # replace the last layer of the weights; False takes it from the file, of one's own localizer
        views=6,  # 'spatial': views of each photo whose features are kept: whole, mirrored, random crops; one epoch
        loss="squared",  # of the box (PSOL); or 'l1', 'l1_giou'
        box_weight=50.0,  # of that loss (code; the paper gives none)
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    training.check_keys(config, devices)
    checks.one_of(config, "head", HEADS)
    checks.one_of(config, "loss", BOX_LOSSES)
    checks.positive(config, "box_weight", "views")


def run(config: ConfigDict, context: Context) -> None:
    """Train the localizer."""
    context = without_left_out(context)
    if config.head == "spatial":
        _train_on_features(config, context)
    else:
        training.train_stage("localizer", training.boxes_to_learn(context), config, context)


def work(config: ConfigDict, context: Context) -> list[Work]:
    """Return the training, or the loops of a spatial head, see `Stage`."""
    if config.head != "spatial":
        return training.work("localizer", config, context)
    method = localizer(config)
    return feature_work("localizer", config, context, method, on_features(method), features_of)


def _train_on_features(config: ConfigDict, context: Context) -> None:
    """Train the spatial head on features of the frozen network, which are computed once and then removed."""
    method, records, boxes = localizer(config), training_records(context), training.boxes_to_learn(context)
    variables, message = training.initial_variables(method, "localizer", config, context.seed)
    logging.info("localizer: %s", message)
    frozen = devices.replicate(variables, context.mesh)
    compute = partial(jax.jit(partial(features_of, method)), frozen)
    file = features_file(context.workdir, "localizer")
    kept = keep_features(
        file,
        compute,
        context.dataset.read,
        records,
        views=config.views,
        size=input_size(config),
        batch_size=config.batch_size,
        seed=context.seed,
        mesh=context.mesh,
    )

    def batches(steps: range) -> Iterator[Batch]:
        return feature_batches(
            kept, records, boxes, batch_size=config.batch_size, seed=context.seed, steps=steps, mesh=context.mesh
        )

    fit(
        network_folder(context.workdir, "localizer"),
        on_features(method),
        variables,
        batches,
        photos=len(kept.features),
        config=config,
        seed=context.seed,
        mesh=context.mesh,
    )
    processes.barrier()  # no other process reads them any more
    if processes.is_first():
        file.unlink()
        file.with_suffix(".rows").unlink()


STAGE = Stage(
    key="localizer",
    defaults=defaults,
    check_keys=check_keys,
    inputs=("pseudo_boxes",),
    outputs=("localizer",),
    run=run,
    check=partial(training.check_training, "localizer"),
    files=training.weight_files,
    without_effect=training.WITHOUT_EFFECT,
    extends=training.extends,
    work=work,
    together=True,
)
