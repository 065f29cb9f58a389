"""The loss of a domain classifier whose gradient reaches the features reversed (DANN; Ganin et al., JMLR 2016)."""

import jax
import jax.numpy as jnp


def adversarial(logits_source: jax.Array, logits_target: jax.Array, mask: jax.Array) -> jax.Array:
    """Return the binary cross-entropy of a domain classifier: half of source as ones, half of target as zeros.

    As in DA-WSOL's code.

    Args:
        logits_source: [b, n], of the domain classifier for source samples, before the sigmoid.
        logits_target: [b, m], for target samples.
        mask: bool [b], the photos that count; the values of the others, even NaN, have no influence.

    Returns:
        A scalar, each half a mean over the samples of the photos that count; 0 if none counts (the published code gives
        NaN). log 2 where the domains cannot be distinguished.
    """
    source, target = (jnp.where(mask[:, None], x.astype(jnp.float32), 0) for x in (logits_source, logits_target))
    entropy = 0.5 * (jax.nn.softplus(-source).mean(axis=1) + jax.nn.softplus(target).mean(axis=1))
    return jnp.where(mask, entropy, 0).sum() / jnp.maximum(mask.sum(), 1)


@jax.custom_vjp
def reverse_gradient(x: jax.Array, strength: jax.Array | float) -> jax.Array:
    """Return `x`; its gradient is -strength times the one that it receives.

    Args:
        x: of any shape.
        strength: a scalar, which receives no gradient.
    """
    del strength
    return x


def _reverse_forward(x: jax.Array, strength: jax.Array | float) -> tuple[jax.Array, jax.Array | float]:
    return x, strength


def _reverse_backward(strength: jax.Array | float, gradient: jax.Array) -> tuple[jax.Array, None]:
    return (-strength * gradient).astype(gradient.dtype), None


reverse_gradient.defvjp(_reverse_forward, _reverse_backward)


def strength(progress: jax.Array | float, gamma: float) -> jax.Array:
    """Return the strength of the reversal: 2 / (1 + exp(-gamma * progress)) - 1.

    Args:
        progress: the share of the training that is done, 0 to 1.
        gamma: 1 in DA-WSOL's code, which ends at 0.462; 10 in DANN's paper, which ends at 0.9999.
    """
    return jnp.tanh(gamma * progress / 2)
