"""The source 'c2am' of the stage `pseudo_boxes`: heat maps of C2AM, which is trained here on the training photos."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks, devices, processes
from wsol_jax.arrays import AT_ONCE, read_array, scratch
from wsol_jax.backbones.initialise import initialise
from wsol_jax.data.plan import WHOLE
from wsol_jax.files import write_atomically
from wsol_jax.methods.c2am import c2am, features_of, is_frozen, on_features
from wsol_jax.methods.method import Method, Variables
from wsol_jax.methods.networks import input_size
from wsol_jax.pseudo.foreground import border_share, object_maps
from wsol_jax.stages import training
from wsol_jax.stages.context import Context, training_records
from wsol_jax.stages.feature_training import train_on_features
from wsol_jax.stages.work import Work, feature_work, forward_work
from wsol_jax.stages.workdir import checkpoints_folder, foreground_file
from wsol_jax.training.checkpoints import load_variables
from wsol_jax.training.predict import predict_photos


def defaults() -> ConfigDict:
    """Return the keys of `pseudo.c2am` with their defaults: the published ones for CUB, the whole network trained."""
    return training.defaults(
        arch_kwargs=ConfigDict(dict(stride=16)),  # 14 x 14 cells of 224 pixels
        layers="layer4,layer3",  # stages whose maps are joined; '' is the last one
        alpha=0.05,  # how much less dissimilar pairs of photos count (supervised weights; MoCo's on CUB: 0.75)
        views=2,  # of each photo whose features are kept, where no stage is trained: whole, mirrored, random crops
        threshold=0.5,  # of the probability of foreground (published: chosen on the boxes of the test photos)
        map_size=448,  # side of the square that photos are resized to for their maps, pixels
        batch_size=16,
        epochs=20.0,
        learning_rate=1e-4,
        schedule="poly",
        momentum=0.0,  # its code hands the decay to the place of the momentum, which is 1e-4
        weight_decay=1e-4,
        new_rate=1.0,
        augment="wsol",
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    training.check_keys(config, devices)
    checks.require(config, "batch_size", config.batch_size > 1, "2 or more: the loss compares photos")
    checks.not_negative(config, "alpha")
    checks.positive(config, "views", "map_size")
    checks.fraction(config, "threshold")


check = partial(training.check_training, "c2am")


def work(config: ConfigDict, batch_size: int, context: Context) -> list[Work]:
    """Return the training, or the loops of a head on kept features, and the maps, see `Stage`.

    Args:
        config: the keys of `pseudo.c2am`.
        batch_size: as for `heat_maps`.
        context: of the stage.
    """
    method, size = c2am(config), input_size(config)
    variables = initialise(jax.random.key(context.seed), method.module, (1, size, size, 3))
    on_devices = devices.replicate(variables, context.mesh)
    forward = partial(jax.jit(partial(features_of, method)), on_devices)
    if is_frozen(method):
        loops = feature_work("c2am", config, context, method, on_features(method), features_of)
    else:
        loops = training.work("c2am", config, context)
    maps = forward_work("c2am: maps", forward, variables, context, size=config.map_size, batch_size=batch_size)
    return [*loops, maps]


def heat_maps(config: ConfigDict, batch_size: int, context: Context) -> Iterator[tuple[str, np.ndarray | None]]:
    """Yield each split with its heat maps, float32 [n, h, w], positive on the object; training photos first.

    The network is trained before the first one; what is written is not computed again. The map of a photo that is
    object everywhere is zero. Other processes than the first take part in the work of the devices alone: there the maps
    are None.

    Args:
        config: the keys of `pseudo.c2am`.
        batch_size: photos in a forward pass for their maps, over all devices.
        context: of the stage.
    """
    method = c2am(config)
    _train(method, config, context)
    variables = load_variables(checkpoints_folder(context.workdir, "c2am"))
    share = None
    for split in ("train", *(split for split in context.dataset.splits if split != "train")):
        maps = _foreground(method, variables, split, config.map_size, batch_size, context)
        if maps is None:
            yield split, None
            continue
        if share is None:
            share = border_share(maps)
            logging.info("C2AM: %.0f %% of the borders of training photos are above 0.5", 100 * share)
        heat = _heat(maps, share, config.threshold, context.workdir)
        if empty := int((heat.max(axis=(1, 2)) <= 0).sum()):
            reason = "no cell is above the threshold, or every cell"
            logging.warning("C2AM: no object in %d of the %d photos of %s: %s", empty, len(heat), split, reason)
        yield split, heat


def _foreground(
    method: Method, variables: Variables, split: str, size: int, batch_size: int, context: Context
) -> np.ndarray | None:
    """P of whole photos, float32 [n, h, w], as the network gives it, in the first process."""
    records, file = context.dataset.splits[split], foreground_file(context.workdir, split)
    if not processes.from_first(file.exists):
        prediction = predict_photos(
            method,
            variables,
            context.dataset,
            records,
            window=WHOLE,
            size=size,
            batch_size=batch_size,
            name=f"C2AM {split}",
            mesh=context.mesh,
            folder=context.workdir,
        )
        write_atomically(file, lambda out: np.save(out, prediction.map))
    return read_array(file, (len(records), None, None), mapped=True) if processes.is_first() else None


def _heat(maps: np.ndarray, share: float, threshold: float, folder: Path) -> np.ndarray:
    """Heat maps of probabilities [n, h, w], see `heat_maps`; many of them in a mapped file."""
    heat = scratch(folder, maps.shape, np.float32)
    for start in range(0, len(maps), AT_ONCE):
        part = object_maps(maps[start : start + AT_ONCE], share) - np.float32(threshold)
        part[part.min(axis=(1, 2)) > 0] = 0  # an object without background has no box, as DDT's without a direction
        heat[start : start + AT_ONCE] = part
    return heat


def _train(method: Method, config: ConfigDict, context: Context) -> None:
    """Train on the training photos, or, where no stage is trained, the head on features that are computed once."""
    if not is_frozen(method):
        training.train_stage("c2am", None, config, context)
        return
    records = training_records(context)
    train_on_features(
        "c2am",
        method,
        on_features(method),
        features_of,
        records,
        lambda: np.zeros((len(records) * config.views, 4), np.float32),
        config,
        context,
    )
