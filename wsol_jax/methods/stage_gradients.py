"""The map of a stage and the gradient of a class with respect to it, in one forward and one backward pass."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from wsol_jax.backbones.layers import ReLU
from wsol_jax.methods.class_maps import shown_class
from wsol_jax.methods.method import Method, Variables

Context = nn.module.InterceptorContext

Slope = Callable[[jax.Array, jax.Array], jax.Array]
"""(logits [b, k], label int [b]) -> [b, k], the gradient with respect to the logits of what is differentiated."""


class StageGradients(NamedTuple):
    """A stage of a network for b photos.

    Attributes:
        logits: [b, k].
        features: float32 [b, h, w, d], the map of the stage.
        gradients: float32 [b, h, w, d], those of the shown class with respect to it.
    """

    logits: jax.Array
    features: jax.Array
    gradients: jax.Array


def stage_gradients(
    method: Method,
    variables: Variables,
    image: jax.Array,
    stage: str,
    label: jax.Array | None,
    slope: Slope,
    guided: bool = False,
) -> StageGradients:
    """Return the map of a stage, and the gradients of one class of each photo with respect to it.

    Args:
        method: a classifier without frozen stages, through which no gradient would pass.
        variables: its parameters and batch statistics.
        image: preprocessed photos [b, h, w, 3].
        stage: a stage of its backbone.
        label: int [b], see `shown_class`.
        slope: `of_logit` or `of_log_probability`.
        guided: cut negative gradients at every ReLU (guided backpropagation).
    """
    maps = jax.eval_shape(lambda: method.network(variables, image, None, None, False)[0].stages)
    nothing = {name: jnp.zeros(maps[name].shape, maps[name].dtype) for name in method.module.backbone.stages}

    def forward(added: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = variables | {"perturbations": {"backbone": nothing | {stage: added}}}
        with nn.intercept_methods(_guide) if guided else nullcontext():
            outputs, _ = method.network(state, image, None, None, False)
        return outputs.logits["classes"], outputs.stages[stage]

    logits, backward, features = jax.vjp(forward, nothing[stage], has_aux=True)
    (gradients,) = backward(slope(logits, shown_class(logits, label)))
    return StageGradients(logits, features.astype(jnp.float32), gradients.astype(jnp.float32))


def of_logit(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Return the slope of a class's logit: 1 for the class, 0 for the others."""
    return jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype)


def of_log_probability(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Return the slope of the logarithm of a class's softmax probability: the class's own minus every probability.

    The probability of all other classes together is their sum, since 1 - p would be 0 where p rounds to 1.
    """
    own = of_logit(logits, label)
    others = jax.nn.softmax(logits, axis=-1) * (1 - own)
    return own * others.sum(axis=-1, keepdims=True) - others


def has_relu(method: Method, size: int) -> bool:
    """Return whether a network has a ReLU, at which gradients can be guided, for photos of a size in pixels."""
    image, met = jnp.zeros((1, size, size, 3)), []

    def note(call: Callable[..., Any], args: Any, kwargs: Any, context: Context) -> Any:
        met.append(isinstance(context.module, ReLU))
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        jax.eval_shape(lambda: method.module.init_with_output(jax.random.key(0), image, False))
    return any(met)


def _guide(call: Callable[..., Any], args: Any, kwargs: Any, context: Context) -> Any:
    features = call(*args, **kwargs)
    return _cut_negative_gradients(features) if isinstance(context.module, ReLU) else features


@jax.custom_vjp
def _cut_negative_gradients(x: jax.Array) -> jax.Array:
    """The same values; on the way back, the positive part of their gradient."""
    return x


_cut_negative_gradients.defvjp(lambda x: (x, None), lambda _, gradient: (jnp.maximum(gradient, 0),))
