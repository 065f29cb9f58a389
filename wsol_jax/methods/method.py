"""What a method is: a value made of pure functions, so that one method can wrap another."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from wsol_jax.data.render import Batch

Variables = dict[str, Any]
"""{'params': ..., 'batch_stats': ...}, nested dicts of arrays; after training also 'memory'."""

Logs = dict[str, jax.Array]
"""Named scalars."""


class Outputs(NamedTuple):
    """What a network gives for a batch.

    Attributes:
        stages: the backbone's stages, name -> [b, h, w, d].
        logits: head -> [b, k].
        maps: head -> [b, h, w, k].
        box: [b, 4] in (0, 1), left, top, width, height in the frame of what the network sees; or None.
        auxiliary: like the classes' logits, or like the box where there are none, of a head that only training has.
        domain: parameters of a domain classifier, for the pixels that the objective chooses; or None.
    """

    stages: dict[str, jax.Array]
    logits: dict[str, jax.Array]
    maps: dict[str, jax.Array]
    box: jax.Array | None = None
    auxiliary: jax.Array | None = None
    domain: dict[str, Any] | None = None


class Prediction(NamedTuple):
    """What a method says about a batch, in the frame of the original images.

    Attributes:
        logits: [b, k] or None.
        box: [b, 4], normalised xyxy inside the image, or None.
        map: [b, h, w] or None.
        assignment: int32 [b, h, w], DA-WSOL's set of each pixel, see `target_samples.SETS`; or None.
    """

    logits: jax.Array | None = None
    box: jax.Array | None = None
    map: jax.Array | None = None
    assignment: jax.Array | None = None


class Method(NamedTuple):
    """What is learned and what is predicted.

    Attributes:
        module: the linen module that `network` runs, to be initialised and given pretrained weights.
        prepare: uint8 images [b, h, w, 3] -> what the network takes.
        perturb: (key, image, label) -> (image, [(label, weight)]); the weights sum to one.
        network: (variables, image, label, key, train) -> (Outputs, batch_stats).
        objective: (outputs, label, batch, memory, key, progress in [0, 1]) -> (loss, memory, logs). What the
            logs call missed_* is counted since the first step and told at the end.
        memory: what is remembered between steps; () for nothing.
        predict: (variables, batch, label or None) -> Prediction.
        group: parameter path -> optimiser group.
    """

    module: nn.Module
    prepare: Callable[[jax.Array], jax.Array]
    perturb: Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, Sequence[tuple[jax.Array, float]]]]
    network: Callable[[Variables, jax.Array, jax.Array, jax.Array, bool], tuple[Outputs, Any]]
    objective: Callable[[Outputs, jax.Array, Batch, Any, jax.Array, jax.Array], tuple[jax.Array, Any, Logs]]
    memory: Any
    predict: Callable[[Variables, Batch, jax.Array | None], Prediction]
    group: Callable[[tuple[str, ...]], str]


def unperturbed(
    key: jax.Array, image: jax.Array, label: jax.Array
) -> tuple[jax.Array, Sequence[tuple[jax.Array, float]]]:
    """The perturbation that changes nothing."""
    del key
    return image, [(label, 1.0)]


def total_loss(
    method: Method, variables: Variables, batch: Batch, memory: Any, key: jax.Array, progress: jax.Array
) -> tuple[jax.Array, tuple[Any, Any, Logs]]:
    """The loss of a batch: weight x objective over the labels that `perturb` returns, the memory threaded through.

    Returns:
        The loss, and (batch_stats, memory, logs): logs are weighted like the loss, but what they count (missed_*) is
        what the last label's objective says.
    """
    perturb_key, network_key, objective_key = jax.random.split(key, 3)
    image, labels = method.perturb(perturb_key, method.prepare(batch.image), batch.label)
    outputs, batch_stats = method.network(variables, image, batch.label, network_key, True)
    loss, logs = 0.0, {}
    for i, (label, weight) in enumerate(labels):
        label_key = jax.random.fold_in(objective_key, i)
        term, memory, term_logs = method.objective(outputs, label, batch, memory, label_key, progress)
        loss += weight * term
        logs = {
            name: value if name.startswith("missed_") else logs.get(name, 0.0) + weight * value
            for name, value in term_logs.items()
        }
    return loss, (batch_stats, memory, logs | {"loss": loss})
