"""SPG: what surely is object or background teaches earlier layers, and these the last (Zhang et al., ECCV 2018)."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.backbones import BACKBONES
from wsol_jax.backbones.convolutions import convolution
from wsol_jax.errors import InputError
from wsol_jax.losses.classes import accuracy, cross_entropy
from wsol_jax.methods.class_maps import map_prediction, of_class, unit_range
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import Method, Outputs, unperturbed
from wsol_jax.methods.networks import MapNetwork, apply, make_trunk, parameter_group, preparation

FEWEST = 30  # pixels of sure object; with fewer the threshold is FALLBACK of the maximum
FALLBACK = 0.7


class Places(NamedTuple):
    """Where wsolevaluation has the side heads of a network.

    Attributes:
        b1: the stage or layer that the first looks at.
        b2: the stage or layer that the second looks at.
        width: channels of their convolutions.
        more: 3x3 convolutions of that width after the last map, before classes and third side head.
    """

    b1: str
    b2: str
    width: int
    more: int = 0


RESNET = Places("layer3.0", "layer3", 1024)
PLACES = {
    "resnet50": RESNET,
    "resnet50_v1": RESNET,
    "vgg_gap": Places("relu4_3", "relu5_3", 512, more=2),
    "inception_v3": Places("Mixed_5d", "Mixed_6e", 512),
}


def spg(config: ConfigDict, classes: int) -> Method:
    """A classifier whose map teaches one side head, which teaches another; both teach a third, on the last map.

    Args:
        config: the keys of `train` in configs/base.py, among them `spg`, the thresholds.
        classes: how many there are.

    Raises:
        InputError: it is not published where the side heads go in this network.
    """
    if config.arch not in PLACES:
        raise InputError(f"spg: arch is {config.arch!r}; expected one of {', '.join(PLACES)}")
    network = MapNetwork(make_trunk(config), SideHeads(classes, *PLACES[config.arch], config.dtype))
    prepare = preparation(BACKBONES[config.arch], config.dtype)

    def forward(variables, image, label, key, train):
        (stages, maps), batch_stats = apply(network, variables, image, key, train, label)
        return Outputs(stages, {"classes": maps["classes"].mean(axis=(1, 2))}, maps), batch_stats

    def objective(outputs, label, batch, memory, key, progress):
        logits = outputs.logits["classes"]
        loss = cross_entropy(logits, label)
        guided = guidance(outputs.maps, label, batch.image.shape[1:3], config.spg)
        return loss + guided, memory, {"accuracy": accuracy(logits, label), "guidance": guided}

    def predict(variables, batch, label=None):
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        return map_prediction(outputs, label)

    group = parameter_group(network, True, config.trainable, config.new_from)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)


class SideHeads(nn.Module):
    """The classes' map and the three side heads; the last convolutions of the first two are shared.

    Attributes:
        classes: how many.
        b1: see `Places`, like the three that follow.
        b2: ...
        width: ...
        more: ...
        dtype: what they are computed in.
    """

    classes: int
    b1: str
    b2: str
    width: int
    more: int
    dtype: str

    @nn.compact
    def __call__(self, stages: dict[str, jax.Array], label: jax.Array | None) -> dict[str, jax.Array]:
        """The backbone's maps to 'classes', float32 [b, h, w, k], and 'b1', 'b2', 'c', [b, h', w', 1]."""
        conv = partial(nn.Conv, dtype=self.dtype, conv_general_dilated=convolution)
        wide = [conv(self.width, (3, 3), padding=1, name="SPG_B_shared.0"), conv(1, (1, 1), name="SPG_B_shared.2")]

        def side(name: str, x: jax.Array) -> jax.Array:
            x = nn.relu(conv(self.width, (3, 3), padding=1, name=name)(x))
            return wide[1](nn.relu(wide[0](x)))

        b1, b2 = side("SPG_B_1a.0", stages[self.b1]), side("SPG_B_2a.0", stages[self.b2])
        x = list(stages.values())[-1]
        for i in range(self.more):
            x = nn.relu(conv(self.width, (3, 3), padding=1, name=f"SPG_A_3.{2 * i}")(x))
        c = conv(1, (1, 1), name="SPG_C.2")(nn.relu(conv(512, (3, 3), padding=1, name="SPG_C.0")(x)))
        classes = conv(self.classes, (1, 1), name="SPG_A4")(x)
        return {"classes": classes.astype(jnp.float32), "b1": b1, "b2": b2, "c": c}


def guidance(maps: dict[str, jax.Array], label: jax.Array, size: tuple[int, int], thresholds: ConfigDict) -> jax.Array:
    """The classes' map guides b2, b2 guides b1, and the mean of b1 and b2 guides c: the sum of the three losses.

    Args:
        maps: as `SideHeads` gives them.
        label: int [b].
        size: height and width, pixels, at which they are compared: the photos'.
        thresholds: the keys of `train.spg` in configs/base.py.
    """

    def large(x: jax.Array) -> jax.Array:
        return jax.image.resize(x.astype(jnp.float32), (len(x), *size), "bilinear")

    b1, b2, c = (large(maps[name][..., 0]) for name in ("b1", "b2", "c"))
    attention = unit_range(large(of_class(maps["classes"], label)))
    fused = (nn.sigmoid(b1) + nn.sigmoid(b2)) / 2
    return (
        seed_loss(b2, attention, thresholds.high_b2, thresholds.low_b2)
        + seed_loss(b1, nn.sigmoid(b2), thresholds.high_b1, thresholds.low_b1)
        + seed_loss(c, fused, thresholds.high_c, thresholds.low_c)
    )


def seed_loss(logits: jax.Array, guide: jax.Array, high: float, low: float) -> jax.Array:
    """Cross-entropy where the guide is sure: object above `high`, background below `low`; 0 if it is sure nowhere.

    Args:
        logits: of being object, [b, h, w].
        guide: [b, h, w] in 0..1; no gradient goes to it.
        high: where fewer than 30 pixels of a photo are above it, 0.7 of the photo's maximum instead.
        low: a pixel below it is background, whatever `high` is.

    Returns:
        The mean over the sure pixels of the batch.
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
