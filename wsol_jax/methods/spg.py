"""SPG: pixels that surely are object or background train side heads, one after the other (Zhang et al., ECCV 2018)."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.backbones import BACKBONES
from wsol_jax.backbones.architecture import SidePlaces
from wsol_jax.backbones.convolutions import convolution
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.losses.classes import accuracy, cross_entropy
from wsol_jax.methods.class_maps import CellClassifier, map_prediction, mean_of_maps, of_class, unit_range
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import (
    BatchStats,
    ClassMaps,
    Logs,
    Memory,
    Method,
    Outputs,
    Prediction,
    Variables,
    unperturbed,
)
from wsol_jax.methods.networks import MapNetwork, apply, make_trunk, parameter_group, preparation

FEWEST = 30  # pixels that surely are object; with fewer the threshold is FALLBACK times the maximum
FALLBACK = 0.7


def spg(config: ConfigDict, classes: int) -> Method:
    """Return a classifier whose map guides a side head, which guides another; both guide a third, on the last map.

    Args:
        config: the keys of `train`, among them `spg`, the thresholds.
        classes: number of classes.

    Raises:
        InputError: no places of the side heads are published for this architecture.
    """
    places = {name: spec.spg for name, spec in BACKBONES.items() if spec.spg}
    if config.arch not in places:
        raise InputError(f"spg: arch is {config.arch!r}; expected one of {', '.join(places)}")
    network = MapNetwork(make_trunk(config), SideHeads(classes, places[config.arch], config.dtype))
    prepare = preparation(BACKBONES[config.arch], config.dtype)

    def forward(
        variables: Variables, image: jax.Array, label: jax.Array | None, key: jax.Array | None, train: bool
    ) -> tuple[Outputs, BatchStats]:
        (stages, maps), batch_stats = apply(network, variables, image, key, train, label)
        return Outputs(stages, {"classes": mean_of_maps(maps["classes"])}, maps), batch_stats

    def objective(
        outputs: Outputs, label: jax.Array, batch: Batch, memory: Memory, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, Memory, Logs]:
        logits = outputs.logits["classes"]
        loss = cross_entropy(logits, label)
        guided = guidance(outputs.maps, label, batch.image.shape[1:3], config.spg)
        return loss + guided, memory, {"accuracy": accuracy(logits, label), "guidance": guided}

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        return map_prediction(outputs, label)

    group = parameter_group(network, True, config.trainable, config.new_from)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)


class SideHeads(nn.Module):
    """The classes' map and the three side heads; the last convolutions of the first two are shared.

    Attributes:
        classes: number of classes.
        places: of the first two side heads, and their width.
        dtype: of the computation except the last layers; parameters are float32.
    """

    classes: int
    places: SidePlaces
    dtype: str

    @nn.compact
    def __call__(self, stages: dict[str, jax.Array], label: jax.Array | None) -> dict[str, jax.Array | ClassMaps]:
        """Return the maps of the classes and of the side heads.

        Args:
            stages: the maps of the backbone.
            label: not used.

        Returns:
            'classes', and 'b1', 'b2', 'c', float32 [b, h', w', 1].
        """
        conv = partial(nn.Conv, dtype=self.dtype, conv_general_dilated=convolution)
        wide = partial(conv, self.places.width, (3, 3), padding=1)
        last = partial(nn.Conv, 1, (1, 1), conv_general_dilated=convolution)  # in float32, as all heads
        shared = [wide(name="SPG_B_shared.0"), last(name="SPG_B_shared.2")]

        def side(name: str, x: jax.Array) -> jax.Array:
            return shared[1](nn.relu(shared[0](nn.relu(wide(name=name)(x)))))

        b1, b2 = side("SPG_B_1a.0", stages[self.places.b1]), side("SPG_B_2a.0", stages[self.places.b2])
        x = list(stages.values())[-1]
        for i in range(self.places.more):
            x = nn.relu(wide(name=f"SPG_A_3.{2 * i}")(x))
        c = last(name="SPG_C.2")(nn.relu(conv(512, (3, 3), padding=1, name="SPG_C.0")(x)))
        return {"classes": CellClassifier(self.classes, name="SPG_A4")(x), "b1": b1, "b2": b2, "c": c}


def guidance(
    maps: dict[str, jax.Array | ClassMaps], label: jax.Array, size: tuple[int, int], thresholds: ConfigDict
) -> jax.Array:
    """Return the sum of the side heads' losses: the classes' map guides b2, b2 guides b1, their mean guides c.

    Args:
        maps: the result of `SideHeads`.
        label: int [b].
        size: height and width, pixels, to which all maps are resized: the photos'.
        thresholds: the keys of `train.spg`.
    """

    def large(x: jax.Array) -> jax.Array:
        return jax.image.resize(x, (x.shape[0], *size), "bilinear")

    b1, b2, c = (large(maps[name][..., 0]) for name in ("b1", "b2", "c"))
    attention = unit_range(large(of_class(maps["classes"], label)))
    fused = (nn.sigmoid(b1) + nn.sigmoid(b2)) / 2
    return (
        seed_loss(b2, attention, thresholds.high_b2, thresholds.low_b2)
        + seed_loss(b1, nn.sigmoid(b2), thresholds.high_b1, thresholds.low_b1)
        + seed_loss(c, fused, thresholds.high_c, thresholds.low_c)
    )


def seed_loss(logits: jax.Array, guide: jax.Array, high: float, low: float) -> jax.Array:
    """Return the cross-entropy of the pixels where the guide is sure: object above `high`, background below `low`.

    Args:
        logits: of the pixels being object, [b, h, w].
        guide: [b, h, w] in 0..1; it gets no gradient.
        high: pixels above it are object; if a photo has fewer than 30 of them, those above 0.7 of its maximum are.
        low: pixels below it are background, even where they are above the threshold of objects.

    Returns:
        The mean over the sure pixels of the batch; 0 if there are none.
    """
    guide = jax.lax.stop_gradient(guide)
    few = (guide > high).sum(axis=(1, 2), keepdims=True) < FEWEST
    is_object = guide > jnp.where(few, FALLBACK * guide.max(axis=(1, 2), keepdims=True), high)
    is_background = guide < low
    sure, is_object = is_object | is_background, is_object & ~is_background
    losses = optax.sigmoid_binary_cross_entropy(logits, is_object.astype(jnp.float32))
    return jnp.where(sure, losses, 0).sum() / jnp.maximum(sure.sum(), 1)


SPG = Entry(
    "SPG",
    spg,
    defaults=dict(  # above `high`: object, below `low`: background (original: low_b2 0.05)
        high_b2=0.7,
        low_b2=0.01,
        high_b1=0.5,
        low_b1=0.05,
        high_c=0.7,
        low_c=0.1,
    ),
    check_keys=lambda keys: checks.fraction(keys, *keys),
)
