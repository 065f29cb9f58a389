"""The stage `localizer` (PSOL, Algorithm 1, step 2): a network that regresses the pseudo boxes, without labels."""

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from wsol_jax import checks, processes
from wsol_jax.arrays import scratch
from wsol_jax.data.kept_views import box_in_view, kept_views, mask_in_view
from wsol_jax.data.records import Record
from wsol_jax.losses.box import BOX_LOSSES
from wsol_jax.methods.localizer import FROZEN, HEADS, features_of, localizer, on_features
from wsol_jax.methods.mask_boxes import GRID
from wsol_jax.stages import training
from wsol_jax.stages.context import Context, training_records
from wsol_jax.stages.feature_training import train_on_features
from wsol_jax.stages.masks import masks_to_learn, photos_with_region
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.work import Work, feature_work


def defaults() -> ConfigDict:
    """Return the keys of `localizer` with their defaults."""
    return training.defaults(
        head="pooled",  # on the mean of the last map (PSOL); or, of a frozen network, 'spatial', on the map itself, or
        # 'mask': each cell is object or not, and the box that of the largest region
        views=6,  # frozen: views of each photo whose features are kept: whole, mirrored, random crops; one epoch
        loss="squared",  # of the box (PSOL); or 'l1', 'l1_giou'; that of masks is the cells' cross-entropy
        box_weight=50.0,  # of the box's loss (code; the paper gives none)
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    training.check_keys(config, devices)
    checks.one_of(config, "head", HEADS)
    checks.one_of(config, "loss", BOX_LOSSES)
    checks.positive(config, "box_weight", "views")


def run(config: ConfigDict, context: Context) -> None:
    """Train the localizer."""
    if config.head not in FROZEN:
        training.train_stage("localizer", training.boxes_to_learn(context), config, context)
        return
    method, records = localizer(config), _records(config.head, context)
    targets = partial(view_targets, config, context)
    train_on_features("localizer", method, on_features(method), features_of, records, targets, config, context)


def view_targets(config: ConfigDict, context: Context) -> np.ndarray:
    """Return the boxes or masks to learn of every view of each photo, float32 [n views, ...]; many in a mapped file.

    Args:
        config: the keys of the stage, with a head of `FROZEN`.
        context: of the stage.
    """
    if config.head == "mask":
        (records, learned), in_view = masks_to_learn(context), partial(mask_in_view, size=GRID)
    else:
        records, learned, in_view = training_records(context), training.boxes_to_learn(context), box_in_view
    shape = _target_shape(config.head)
    # The other processes have them on the disks of their own hosts.
    folder = context.workdir if processes.is_first() else Path(tempfile.gettempdir())
    target = scratch(folder, (len(records), config.views, *shape), np.float32)
    for i, of_photo in enumerate(learned):
        for number, view in enumerate(kept_views(context.seed, [i], config.views)):
            target[i, number] = in_view(of_photo, view)
    return target.reshape(-1, *shape)


def extends(was: Mapping[str, Any], now: Mapping[str, Any], context: Context) -> str | None:
    """Return '' if a training continues from one of fewer epochs to what it would be with all of them; see `Stage`."""
    if now["head"] not in FROZEN:
        return training.extends(was, now, context)
    return training.extends(was, now, context, len(_records(now["head"], context)) * now["views"])


def work(config: ConfigDict, context: Context) -> list[Work]:
    """Return the training, or the loops of a head on kept features, see `Stage`."""
    if config.head not in FROZEN:
        return training.work("localizer", config, context)
    method = localizer(config)
    shape = _target_shape(config.head)
    return feature_work("localizer", config, context, method, on_features(method), features_of, shape)


def _records(head: str, context: Context) -> Sequence[Record]:
    """The photos that a head of `FROZEN` learns."""
    return photos_with_region(context)[0] if head == "mask" else training_records(context)


def _target_shape(head: str) -> tuple[int, ...]:
    return (GRID, GRID) if head == "mask" else (4,)


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
    extends=extends,
    work=work,
    together=True,
)
