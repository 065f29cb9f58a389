"""The keys of DA-WSOL's loss, `train.dawsol`: the values of its published code for CUB and ResNet-50."""

import math

import numpy as np
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.methods.dawsol.target_samples import ANCHOR_ORDERS, ANCHOR_UPDATES

DOMAIN_LOSSES = ("mmd_linear", "mmd_quadratic", "dann")

DEFAULTS = dict(
    use=False,
    domain_loss="mmd_linear",  # between pooled features and pixels (paper, Eq. 9: 'mmd_quadratic'); or 'dann'
    domain_weight=0.3,  # lambda_1, of the domain loss; 0 leaves it out
    universum="mean",  # reduction over the pixels of no class (paper, Eq. 4: 'sum')
    universum_weight=2.0,  # lambda_2, of the Universum term; 0 leaves it out
    start_epoch=0,  # the epochs up to and including this one (from 0) are without both terms; -1: none is (paper)
    samples=32,  # pixels on either side of the domain loss; a photo with fewer does not enter it
    assigner=True,  # False: any pixels are the target, and all pooled features of a batch the source
    anchor_order="batch",  # code: 'sequential', each photo of a batch starts from the anchors of the ones before it
    anchor_update="fake",  # the set whose centre a class's anchor follows (paper: 'real')
    anchor_offset=0.0,  # added to a class's first anchor (paper: a small epsilon)
    gamma=1.0,  # slope of the schedule of the domain classifier's reversed gradient (DANN's authors: 10)
    domain_rate=10.0,  # the domain classifier's rate, as a multiple; it is never divided
)


def check_keys(keys: ConfigDict) -> None:
    """Raise InputError for a value that is never valid; values that must suit the network are checked by `dawsol`.

    Args:
        keys: `train.dawsol`.
    """
    checks.one_of(keys, "domain_loss", DOMAIN_LOSSES)
    checks.one_of(keys, "universum", ("mean", "sum"))
    checks.one_of(keys, "anchor_order", ANCHOR_ORDERS)
    checks.one_of(keys, "anchor_update", ANCHOR_UPDATES)
    checks.positive(keys, "samples", "gamma")
    checks.not_negative(keys, "domain_weight", "universum_weight", "anchor_offset", "domain_rate")
    checks.require(keys, "start_epoch", -1 <= keys.start_epoch < math.inf, "a number from -1, the first step, on")


def same_terms(was: ConfigDict, now: ConfigDict, steps_per_epoch: float, steps: int) -> bool:
    """Return whether two trainings that differ in `epochs` have the same loss at each of the first `steps` steps.

    A step knows the share of the training that is done, see `Method`: the domain classifier's reversed gradient depends
    on it, and whether `start_epoch` is over, which is rounded like the step's own float32 numbers.

    Args:
        was: the keys of `train`.
        now: the same with other `epochs`.
        steps_per_epoch: may be a fraction.
        steps: of `was`.
    """

    def has_started(config: ConfigDict) -> np.ndarray:
        progress = np.arange(steps, dtype=np.float32) / np.float32(math.ceil(config.epochs * steps_per_epoch))
        return progress * np.float32(config.epochs) >= config.dawsol.start_epoch + 1

    keys = was.dawsol
    return not keys.use or (keys.domain_loss != "dann" and bool((has_started(was) == has_started(now)).all()))
