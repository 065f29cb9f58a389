"""Measurements of domain adaptation while a network trains: pixels on and off the object, by epoch."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from wsol_jax import processes
from wsol_jax.data.plan import WHOLE
from wsol_jax.data.records import Dataset, Record
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.losses import mmd
from wsol_jax.methods.dawsol.target_samples import SETS
from wsol_jax.methods.method import Method, Variables
from wsol_jax.methods.networks import input_size
from wsol_jax.threads import in_threads
from wsol_jax.training.predict import predict_photos

PIXELS_OF_A_PHOTO = 3  # drawn on and off its object for the gap
FINE = 8  # pixels of a mask along the side of a map's cell

Watch = Callable[[Variables], dict[str, float]]
"""Variables with 'memory' -> named numbers; none in other processes than the first."""


class Seen(NamedTuple):
    """The features and pixel sets of photos, in place of a `Prediction`.

    Attributes:
        features: float32 [b, h, w, d], its last map.
        assignment: int32 [b, h, w], DA-WSOL's set of each pixel, or None.
    """

    features: jax.Array
    assignment: jax.Array | None


def make_watch(
    method: Method, records: Sequence[Record], config: ConfigDict, dataset: Dataset, seed: int, mesh: Mesh
) -> Watch:
    """Return the function that measures a network after every epoch.

    Args:
        method: the method that is trained.
        records: photos with masks, see `watched`.
        config: the keys of `train`.
        dataset: reads the pixels and masks.
        seed: of the draw of pixels.
        mesh: the devices.
    """
    stage, size = list(method.module.backbone.stages)[-1], input_size(config)

    def see(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Seen:
        network = {name: variables[name] for name in ("params", "batch_stats")}
        outputs, _ = method.network(network, method.prepare(batch.image), None, None, False)
        features = outputs.stages[stage].astype(jnp.float32)
        return Seen(features, method.predict(variables, batch, label).assignment)

    def shares(side: int) -> np.ndarray:
        masks = in_threads(lambda record: dataset.read_mask(record, side * FINE), records)
        return np.stack([object_share(mask, side) for mask in masks])

    def watch(variables: Variables) -> dict[str, float]:
        seen = predict_photos(
            method._replace(predict=see),
            variables,
            dataset,
            records,
            window=WHOLE,
            size=size,
            batch_size=config.batch_size,
            name="watched photos",
            mesh=mesh,
            of_own_class=True,
        )
        values = {} if seen is None else measure(seen, shares(seen.features.shape[1]), seed)
        processes.wait_for_first()  # here, and not through the devices in the next step
        return values

    return watch


def watched(count: int, dataset: Dataset) -> Sequence[Record]:
    """Return `count` photos with a mask, evenly spread over the validation photos, or else the test photos.

    Args:
        count: `train.watch`; 0 for none.
        dataset: the photos.

    Raises:
        InputError: none has a mask.
    """
    if not count:
        return []
    split = "val" if "val" in dataset.splits else "test"
    records = [record for record in dataset.splits.get(split, []) if record.masks]
    if not records:
        raise InputError(f"watch is {count}, but no photo of the split {split!r} has a mask; expected 0")
    chosen = np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int)
    return [records[i] for i in chosen]


def object_share(mask: np.ndarray, side: int) -> np.ndarray:
    """Return the share of object in each cell, float64 [side, side] in [0, 1], NaN where no pixel of a cell is known.

    Args:
        mask: as `Dataset.read_mask` returns it.
        side: of the map, cells.
    """
    cells = mask.reshape(side, len(mask) // side, side, len(mask) // side)
    known = (cells != 255).sum(axis=(1, 3))
    return np.divide((cells == 1).sum(axis=(1, 3)), known, out=np.full((side, side), np.nan), where=known > 0)


def measure(seen: Seen, share: np.ndarray, seed: int) -> dict[str, float]:
    """Return the domain gap and the purity of the sets of pixels.

    Args:
        seen: of n photos, on the host.
        share: [n, h, w], the share of object in each cell.
        seed: of the draw of pixels.

    Returns:
        `foreground`, the percentage of object; `gap_foreground` and `gap_background`, the quadratic MMD, 0 and more,
        from the photos' means to pixels on and off the objects; `purity_SET`, the percentage of object in each set that
        has pixels.
    """
    rng, features = np.random.default_rng(seed), seen.features
    pooled = features.mean(axis=(1, 2))
    values = {"foreground": 100 * float(np.nanmean(share))}
    for name, is_in in (("foreground", share >= 0.5), ("background", share < 0.5)):
        drawn = [_some(rng, photo[inside]) for photo, inside in zip(features, is_in, strict=True)]
        gap, _ = mmd.quadratic(pooled[None], np.concatenate(drawn)[None], jnp.ones(1, bool))
        values[f"gap_{name}"] = float(gap)
    if seen.assignment is not None:
        for which, name in enumerate(SETS):
            in_set = share[(seen.assignment == which) & ~np.isnan(share)]
            if len(in_set):
                values[f"purity_{name}"] = 100 * float(in_set.mean())
    return values


def _some(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    return pixels[rng.permutation(len(pixels))[:PIXELS_OF_A_PHOTO]]
