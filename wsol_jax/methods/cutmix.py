"""CutMix: a rectangle of each training photo and its share of the label come from another (Yun et al., ICCV 2019)."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.methods.cam import cam
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import Labels, Method


def cutmix(config: ConfigDict, classes: int) -> Method:
    """Return CAM trained on mixed photos; a batch is mixed with probability `cutmix.probability`.

    Args:
        config: the keys of `train`, among them `cutmix`.
        classes: number of classes.
    """
    keys = config.cutmix

    def perturb(key: jax.Array, image: jax.Array, label: jax.Array) -> tuple[jax.Array, Labels]:
        chance, order, area, place = jax.random.split(key, 4)
        other = jax.random.permutation(order, len(label))
        share = jax.random.beta(area, keys.beta, keys.beta)
        inside = rectangle(place, image.shape[1:3], share)
        inside &= jax.random.bernoulli(chance, keys.probability)
        mixed = jnp.where(inside[None, :, :, None], image[other], image)
        kept = 1 - inside.mean()
        return mixed, [(label, kept), (label[other], 1 - kept)]

    return cam(config, classes)._replace(perturb=perturb)


def rectangle(key: jax.Array, size: tuple[int, int], share: jax.Array) -> jax.Array:
    """Return a mask of the photos, true inside of a random rectangle.

    Its sides are sqrt(1 - share) of the photo's, and it is cut off at the photo's edges. As published, its centre is
    drawn uniformly over the pixels, and its half sides are rounded down to whole pixels.

    Args:
        key: of the centre.
        size: height and width of the photos, pixels.
        share: the part of the photo that stays, in [0, 1], if the rectangle is not cut off.

    Returns:
        bool [h, w].
    """
    inside = []
    for axis_key, side in zip(jax.random.split(key), size, strict=True):
        half = (side * jnp.sqrt(1 - share)).astype(jnp.int32) // 2
        centre, pixel = jax.random.randint(axis_key, (), 0, side), jnp.arange(side)
        inside.append((pixel >= centre - half) & (pixel < centre + half))
    return inside[0][:, None] & inside[1][None, :]


def _check_keys(keys: ConfigDict) -> None:
    checks.fraction(keys, "probability")
    checks.positive(keys, "beta")


CUTMIX = Entry(
    "CutMix",
    cutmix,
    defaults=dict(
        probability=1.0,  # that a batch is mixed (DA-WSOL: 0.34)
        beta=1.0,  # of the distribution of the area (DA-WSOL: 1.35)
    ),
    check_keys=_check_keys,
)
