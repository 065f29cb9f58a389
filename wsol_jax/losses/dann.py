"""Domains told apart by a classifier whose gradient the features receive reversed (DANN; Ganin et al., JMLR 2016)."""

import jax
import jax.numpy as jnp


def adversarial(logits_source: jax.Array, logits_target: jax.Array, mask: jax.Array) -> jax.Array:
    """Half the binary cross-entropy of the source as ones and half that of the target as zeros, as DA-WSOL's code does.

    Args:
        logits_source: [b, n], what the domain classifier says, before the sigmoid.
        logits_target: [b, m].
        mask: bool [b], the photos that count; what the others hold, NaN too, changes nothing.

    Returns:
        A scalar, each half a mean over the samples of the photos that count; 0 where there are none (the published
        code gives NaN). log 2 where the domains cannot be told apart.
    """
    source, target = (jnp.where(mask[:, None], x.astype(jnp.float32), 0) for x in (logits_source, logits_target))
    entropy = 0.5 * (jax.nn.softplus(-source).mean(axis=1) + jax.nn.softplus(target).mean(axis=1))
    return jnp.where(mask, entropy, 0).sum() / jnp.maximum(mask.sum(), 1)


@jax.custom_vjp
def reverse_gradient(x: jax.Array, strength: jax.Array | float) -> jax.Array:
    """The identity, whose gradient is -strength times the one it receives; none reaches strength, a scalar."""
    del strength
    return x


def _reverse_forward(x: jax.Array, strength: jax.Array | float) -> tuple[jax.Array, jax.Array | float]:
    return x, strength


def _reverse_backward(strength: jax.Array | float, gradient: jax.Array) -> tuple[jax.Array, None]:
    return (-strength * gradient).astype(gradient.dtype), None


reverse_gradient.defvjp(_reverse_forward, _reverse_backward)


def strength(progress: jax.Array | float, gamma: float) -> jax.Array:
    """How strongly gradients are reversed: 2 / (1 + exp(-gamma * progress)) - 1.

    Args:
        progress: the share of the training that is done, 0 to 1.
        gamma: 1 in DA-WSOL's code, which ends at 0.462; 10 in DANN's paper, which ends at 0.9999.
    """
    return jnp.tanh(gamma * progress / 2)
