"""Why domain adaption helps or hurts, looked at while a network trains: pixels on and off the object, by epoch."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from wsol_jax.context import Context
from wsol_jax.data.photos import in_threads
from wsol_jax.data.plan import WHOLE
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.losses import mmd
from wsol_jax.methods.method import Method, Variables
from wsol_jax.methods.networks import input_size
from wsol_jax.methods.predict import predict_photos
from wsol_jax.methods.target_samples import SETS

PIXELS_OF_A_PHOTO = 3  # drawn on and off its object for the gap
FINE = 8  # pixels of a mask along the side of a map's cell

Watch = Callable[[Variables], dict[str, float]]
"""Variables with 'memory' -> what is told of them, by name."""


class Seen(NamedTuple):
    """What the network makes of photos.

    Attributes:
        features: float32 [b, h, w, d], its last map.
        assignment: int32 [b, h, w], DA-WSOL's set of each pixel, or None.
    """

    features: jax.Array
    assignment: jax.Array | None


def watch(method: Method, config: ConfigDict, context: Context) -> Watch | None:
    """What is to be looked at after every epoch; None for `watch=0`.

    Args:
        method: that trains.
        config: the keys of `train` in configs/base.py.
        context: has the photos.
    """
    records = watched(config.watch, context)
    if not records:
        return None
    stage, size = list(method.module.backbone.stages)[-1], input_size(config)

    def see(variables, batch, label):
        network = {name: variables[name] for name in ("params", "batch_stats")}
        outputs, _ = method.network(network, method.prepare(batch.image), None, None, False)
        features = outputs.stages[stage].astype(jnp.float32)
        return Seen(features, method.predict(variables, batch, label).assignment)

    def look(variables: Variables) -> dict[str, float]:
        seen = predict_photos(
            method._replace(predict=see),
            variables,
            context.dataset,
            records,
            WHOLE,
            size,
            config.batch_size,
            "watched photos",
            context.mesh,
            of_own_class=True,
        )
        side = seen.features.shape[1]
        masks = in_threads(lambda record: context.dataset.read_mask(record, side * FINE), records)
        return measure(seen, np.stack([object_share(mask, side) for mask in masks]), context.seed)

    return look


def watched(count: int, context: Context) -> Sequence[Record]:
    """So many photos with a mask, evenly spread over the validation photos, or the test photos where there are none.

    Raises:
        InputError: none has a mask.
    """
    if not count:
        return []
    split = "val" if "val" in context.dataset.splits else "test"
    records = [record for record in context.dataset.splits.get(split, []) if record.masks]
    if not records:
        raise InputError(f"watch is {count}, but no photo of the split {split!r} has a mask; expected 0")
    chosen = np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int)
    return [records[i] for i in chosen]


def object_share(mask: np.ndarray, side: int) -> np.ndarray:
    """How much of each cell [side, side] is object, 0 to 1, of a mask as `Dataset.read_mask` gives it.

    NaN where nothing of a cell is known.
    """
    cells = mask.reshape(side, len(mask) // side, side, len(mask) // side)
    known = (cells != 255).sum(axis=(1, 3))
    return np.divide((cells == 1).sum(axis=(1, 3)), known, out=np.full((side, side), np.nan), where=known > 0)


def measure(seen: Seen, share: np.ndarray, seed: int) -> dict[str, float]:
    """The domain gap, and how pure the sets of pixels are.

    Args:
        seen: of n photos, on the host.
        share: [n, h, w], how much of each cell is object.
        seed: of the draw of pixels.

    Returns:
        `foreground`, the percentage of object; `gap_foreground` and `gap_background`, the quadratic MMD, 0 and more,
        from the photos' means to pixels on and off the objects; `purity_SET`, the percentage of object in each set that
        has pixels.
    """
    rng, features = np.random.default_rng(seed), seen.features
    pooled = features.mean(axis=(1, 2))
    told = {"foreground": 100 * float(np.nanmean(share))}
    for name, is_in in (("foreground", share >= 0.5), ("background", share < 0.5)):
        drawn = [_some(rng, photo[inside]) for photo, inside in zip(features, is_in, strict=True)]
        gap, _ = mmd.quadratic(pooled[None], np.concatenate(drawn)[None], jnp.ones(1, bool))
        told[f"gap_{name}"] = float(gap)
    if seen.assignment is not None:
        for which, name in enumerate(SETS):
            in_set = share[(seen.assignment == which) & ~np.isnan(share)]
            if len(in_set):
                told[f"purity_{name}"] = 100 * float(in_set.mean())
    return told


def _some(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    return pixels[rng.permutation(len(pixels))[:PIXELS_OF_A_PHOTO]]
