"""SGD with momentum, a rate and a decay for each group of parameters."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from ml_collections import ConfigDict


def learning_rate(config: ConfigDict, steps_per_epoch: float) -> optax.Schedule:
    """The rate at each step: constant, or divided by `decay_factor` after every `decay_every` epochs.

    The first time is `decay_early` epochs before that: published DA-WSOL divides before epoch 3, not after it.
    """
    if not config.decay_every:
        return optax.constant_schedule(config.learning_rate)
    epochs = np.arange(config.decay_every - config.decay_early, config.epochs, config.decay_every)
    boundaries = {round(epoch * steps_per_epoch): 1 / config.decay_factor for epoch in epochs.tolist()}
    return optax.piecewise_constant_schedule(config.learning_rate, boundaries)


def sgd(
    config: ConfigDict, steps_per_epoch: float, group: Callable[[tuple[str, ...]], str]
) -> optax.GradientTransformation:
    """PyTorch's SGD: weight decay joins the gradient, the momentum gathers both, the rate scales what comes out.

    Args:
        config: training keys of configs/base.py.
        steps_per_epoch: may be a fraction.
        group: parameter path -> 'base', 'new' (rate x `new_rate`), 'domain' (rate x `dawsol.domain_rate`, which is
            never divided) or 'frozen' (neither rate nor decay).
    """
    rate = learning_rate(config, steps_per_epoch)

    def rule(multiple: float, rate: optax.Schedule = rate) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(config.weight_decay),
            optax.trace(config.momentum, config.nesterov),
            optax.scale_by_learning_rate(lambda step: multiple * rate(step)),
        )

    def labels(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, _: group(tuple(p.key for p in path)), params)

    rules = {"base": rule(1.0), "new": rule(config.new_rate), "frozen": optax.set_to_zero()}
    if "dawsol" in config:
        rules["domain"] = rule(config.dawsol.domain_rate, optax.constant_schedule(config.learning_rate))
    return optax.partition(rules, labels)
