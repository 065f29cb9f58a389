"""The interface of a method: a value of pure functions, so that one method can wrap another."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from wsol_jax.data.render import Batch

Variables = dict[str, Any]
"""{'params': ..., 'batch_stats': ...}, nested dicts of arrays; after training also 'memory'."""

BatchStats = dict[str, Any]
"""Running means and variances, nested dicts of arrays; {} for a network without any."""

Memory = Any
"""A tree of arrays that a method keeps from one step to the next; () if it keeps none."""

Labels = Sequence[tuple[jax.Array, jax.Array | float]]
"""Labels of the photos, int [b], each with its weight in the loss; the weights sum to one."""

Logs = dict[str, jax.Array]
"""Named scalars: missed_* are counts since the first step, the others are means over a batch."""

Group = Callable[[tuple[str, ...]], str]
"""Path of a parameter -> its optimiser group, see `make_optimiser`."""


class ClassMaps(NamedTuple):
    """The maps of all classes, [b, h, w, k], as the linear layer that gives them; see `class_maps.of_class`.

    A thousand maps of a photo are many times as large as its features, and the map of one class is needed.

    Attributes:
        features: [b, h, w, d].
        kernel: float32 [d, k].
        bias: float32 [k]; None for maps without it.
    """

    features: jax.Array
    kernel: jax.Array
    bias: jax.Array | None = None


class Outputs(NamedTuple):
    """The outputs of a network for a batch.

    Attributes:
        stages: {stage of the backbone: map [b, h, w, d]}.
        logits: {head: [b, k]}.
        maps: {head: [b, h, w, k], or `ClassMaps` of a head of classes}.
        box: [b, 4] in (0, 1), left, top, width, height in the frame of the network's input; or None.
        auxiliary: [b, k] like the classes' logits, or [b, 4] like the box where there are no logits, of a head that
            exists in training only; or None.
        domain: the parameters of a domain classifier, which the objective applies to pixels of its choice; or None.
    """

    stages: dict[str, jax.Array]
    logits: dict[str, jax.Array]
    maps: dict[str, jax.Array | ClassMaps]
    box: jax.Array | None = None
    auxiliary: jax.Array | None = None
    domain: dict[str, Any] | None = None


class Prediction(NamedTuple):
    """The predictions for a batch, in the frame of the original images; None for a kind that a method does not predict.

    Attributes:
        logits: [b, k].
        box: [b, 4], normalised xyxy inside the image.
        map: [b, h, w], the score of each cell.
        assignment: int32 [b, h, w], DA-WSOL's set of each pixel, see `target_samples.SETS`.
        mirror_iou: [b], the IoU of the boxes of a photo and of its mirror image, see `mirrored`.
        stability: [b], of the box of a mask, see `mask_boxes`.
    """

    logits: jax.Array | None = None
    box: jax.Array | None = None
    map: jax.Array | None = None
    assignment: jax.Array | None = None
    mirror_iou: jax.Array | None = None
    stability: jax.Array | None = None


class Method(NamedTuple):
    """The functions that train a network and predict with it.

    Attributes:
        module: the linen module behind `network`, which is initialised and given pretrained weights.
        prepare: uint8 images [b, h, w, 3] -> the input of the network.
        perturb: (key, image, label) -> (image, labels); for training, after `prepare`.
        network: (variables, image, label, key, train) -> (outputs, batch statistics). The key draws the dropout; label
            and key may be None outside of training.
        objective: (outputs, label, batch, memory, key, progress) -> (loss, memory, logs). The progress is the share of
            the training that is done, 0 to 1.
        memory: before the first step.
        predict: (variables, batch, label) -> prediction. Maps are those of the labels; without a label, or for one of
            -1, that of the most probable class.
        group: path of a parameter -> its optimiser group.
        has_positive: whether there are parameters of the group 'positive', which never fall below 0.
    """

    module: nn.Module
    prepare: Callable[[jax.Array], jax.Array]
    perturb: Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, Labels]]
    network: Callable[[Variables, jax.Array, jax.Array | None, jax.Array | None, bool], tuple[Outputs, BatchStats]]
    objective: Callable[[Outputs, jax.Array, Batch, Memory, jax.Array, jax.Array], tuple[jax.Array, Memory, Logs]]
    memory: Memory
    predict: Callable[[Variables, Batch, jax.Array | None], Prediction]
    group: Group
    has_positive: bool = False


def unperturbed(key: jax.Array, image: jax.Array, label: jax.Array) -> tuple[jax.Array, Labels]:
    """Return the images as they are and their labels with weight 1, for a method without a perturbation."""
    del key
    return image, [(label, 1.0)]


def total_loss(
    method: Method, variables: Variables, batch: Batch, memory: Memory, key: jax.Array, progress: jax.Array
) -> tuple[jax.Array, tuple[BatchStats, Memory, Logs]]:
    """Return the loss of a batch: the sum of weight x objective over the labels that `perturb` returns.

    The memory passes through the objectives one after another.

    Args:
        method: the method.
        variables: parameters and batch statistics.
        batch: b photos.
        memory: after the step before.
        key: of the step; perturbation, network and each objective get keys of their own.
        progress: the share of the training that is done, 0 to 1.

    Returns:
        The loss, a scalar, and (batch statistics, memory, logs). The logs are weighted like the loss, but counts
        (missed_*) are those after the last objective.
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
