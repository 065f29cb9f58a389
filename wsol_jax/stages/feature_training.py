"""Training of a head on features of a frozen network, which are computed once, and removed in the end."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import devices, processes
from wsol_jax.data.records import Record
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Method, Variables
from wsol_jax.methods.networks import input_size
from wsol_jax.stages.context import Context
from wsol_jax.stages.training import initial_variables
from wsol_jax.stages.workdir import checkpoints_folder, features_file, network_folder
from wsol_jax.training.checkpoints import last_step
from wsol_jax.training.kept_features import feature_batches, keep_features
from wsol_jax.training.loop import fit


def train_on_features(
    stage: str,
    method: Method,
    head: Method,
    features_of: Callable[[Method, Variables, jax.Array], jax.Array],
    records: Sequence[Record],
    targets: Callable[[], np.ndarray],
    config: ConfigDict,
    context: Context,
) -> None:
    """Train a head from its weights or its last checkpoint.

    Args:
        stage: 'localizer' or 'c2am'.
        method: that of the stage.
        head: the same, on features.
        features_of: (method, its variables, uint8 images) -> features.
        records: n photos to learn.
        targets: () -> float32 [n views, ...], of every view of each photo; called only where there is a step to take.
        config: the keys of the stage.
        context: of the stage.
    """
    file, views = features_file(context.workdir, stage), len(records) * config.views
    steps = math.ceil(config.epochs * views / config.batch_size)
    if processes.from_first(lambda: last_step(checkpoints_folder(context.workdir, stage))) < steps:
        variables, message = initial_variables(method, config, context.seed)
        logging.info("%s: %s", stage, message)
        target = targets()
        kept = keep_features(
            file,
            partial(jax.jit(partial(features_of, method)), devices.replicate(variables, context.mesh)),
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
                kept, records, target, batch_size=config.batch_size, seed=context.seed, steps=steps, mesh=context.mesh
            )

        fit(
            network_folder(context.workdir, stage),
            head,
            variables,
            batches,
            photos=views,
            config=config,
            seed=context.seed,
            mesh=context.mesh,
        )
    processes.barrier()  # no other process reads them any more
    if processes.is_first():
        file.with_suffix(".rows").unlink(missing_ok=True)  # first: without it, no rows of a new file count as done
        file.unlink(missing_ok=True)
