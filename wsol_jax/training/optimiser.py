"""Optimisers with a rate and a decay for each group of parameters: PyTorch's SGD, as the papers use it, and AdamW."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from wsol_jax.methods.method import Group

OPTIMISERS = ("sgd", "adamw")
SCHEDULES = ("steps", "cosine", "poly")
POLY_POWER = 0.9  # C2AM's


def learning_rate(config: ConfigDict, steps_per_epoch: float) -> optax.Schedule:
    """Return the learning rate at each step.

    Args:
        config: the keys of a training, see `stages.training`. With `schedule='steps'` the rate is constant, or divided
            by `decay_factor` after every `decay_every` epochs, each time `decay_early` epochs earlier: published
            DA-WSOL divides before epoch 3, not after it. With 'cosine' it falls to zero at the last step, and with
            'poly' too, as (1 - step / steps)^0.9.
        steps_per_epoch: may be a fraction.
    """
    steps = max(1, round(config.epochs * steps_per_epoch))
    if config.schedule == "cosine":
        return optax.cosine_decay_schedule(config.learning_rate, steps)
    if config.schedule == "poly":
        # Compiled, 1 - step / steps may be just below 0 in a step more than `steps`; optax's power of it is NaN.
        return lambda step: config.learning_rate * jnp.maximum(1 - step / steps, 0) ** POLY_POWER
    if not config.decay_every:
        return optax.constant_schedule(config.learning_rate)
    epochs = np.arange(config.decay_every - config.decay_early, config.epochs, config.decay_every)
    boundaries = {round(epoch * steps_per_epoch): 1 / config.decay_factor for epoch in epochs.tolist()}
    return optax.piecewise_constant_schedule(config.learning_rate, boundaries)


def same_rates(was: ConfigDict, now: ConfigDict, steps_per_epoch: float, steps: int) -> bool:
    """Return whether two configurations have the same learning rates at each of the first `steps` steps, bit for bit.

    A rate without any division is a number of Python, which is rounded to float32 after it is multiplied, not before.
    """

    def rates(config: ConfigDict, multiple: float) -> np.ndarray:
        rate = multiple * learning_rate(config, steps_per_epoch)(np.arange(steps))
        return np.broadcast_to(np.asarray(rate, np.float32), steps)

    return all(np.array_equal(rates(was, multiple), rates(now, multiple)) for multiple in (1.0, now.new_rate))


def make_optimiser(
    config: ConfigDict, steps_per_epoch: float, group: Group, has_positive: bool = False
) -> optax.GradientTransformation:
    """Return the optimiser of a training.

    With `optimiser='sgd'` it is PyTorch's SGD: weight decay is added to the gradient, the momentum accumulates the sum,
    and the rate scales the result. With 'adamw' the decay is added after Adam's scaling (Loshchilov and Hutter, ICLR
    2019).

    Args:
        config: the keys of a training.
        steps_per_epoch: may be a fraction.
        group: path of a parameter -> 'base', 'new' (rate x `new_rate`), 'domain' (rate x `dawsol.domain_rate`, without
            the schedule), 'positive' (as 'new', and never below 0) or 'frozen' (neither rate nor decay).
        has_positive: whether there is the group 'positive'.
    """
    rate = learning_rate(config, steps_per_epoch)

    def rule(multiple: float, rate: optax.Schedule = rate) -> optax.GradientTransformation:
        decay = optax.add_decayed_weights(config.weight_decay)
        scale = optax.scale_by_learning_rate(lambda step: multiple * rate(step))
        if config.optimiser == "adamw":
            return optax.chain(optax.scale_by_adam(), decay, scale)
        return optax.chain(decay, optax.trace(config.momentum, config.nesterov), scale)

    def labels(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, _: group(tuple(p.key for p in path)), params)

    rules = {"base": rule(1.0), "new": rule(config.new_rate), "frozen": optax.set_to_zero()}
    if "dawsol" in config:
        rules["domain"] = rule(config.dawsol.domain_rate, optax.constant_schedule(config.learning_rate))
    if has_positive:
        rules["positive"] = optax.chain(rule(config.new_rate), optax.keep_params_nonnegative())
    return optax.partition(rules, labels)
