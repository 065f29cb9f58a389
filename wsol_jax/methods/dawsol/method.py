"""DA-WSOL: domain adaptation from the pooled features of a map to its pixels (Zhu et al., CVPR 2022).

A classifier is trained on pooled features, the source domain, and applied to pixels, the target domain. The domain
adaptation localization (DAL) loss is added to the loss of any method: it aligns both domains, and pushes the pixels
that belong to no class to zero (paper, section 3.2).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax import devices
from wsol_jax.backbones.heads import Classifier
from wsol_jax.backbones.network import Network
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.losses import dann, mmd, universum
from wsol_jax.methods.class_maps import shown_class
from wsol_jax.methods.dawsol.target_samples import (
    FAKE,
    REAL,
    SETS,
    UNIVERSUM,
    Anchors,
    assign,
    assign_after_training,
    assign_in_turn,
    draw,
    no_anchors,
    updated,
)
from wsol_jax.methods.method import BatchStats, Logs, Memory, Method, Outputs, Prediction, Variables
from wsol_jax.methods.networks import check_pooling, input_size

DomainLoss = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""(source [b, n, d], target [b, m, d], mask bool [b]) -> the loss, and int32, the number of flat photos in the mask."""

Sampler = Callable[[jax.Array, tuple[int, int]], jax.Array]
"""(key, (b, n)) -> scores [b, n], at least 0 and different in a photo: pixels with the largest are drawn."""


class Missed(NamedTuple):
    """Counts of terms that were zero for lack of pixels, where the published code gives NaN.

    A batch with two labels per photo, as CutMix's, counts once for each of them.

    Attributes:
        pairs: int32, batches of which no photo had enough pixels for the domain loss.
        universum: int32, batches without a pixel that belongs to no class.
        spread: int32, photos whose samples were all the same.
    """

    pairs: jax.Array
    universum: jax.Array
    spread: jax.Array


class DawsolMemory(NamedTuple):
    """The memory of DA-WSOL on top of a method.

    Attributes:
        anchors: of the target sample assigner.
        missed: counts since the first step.
        method: the memory of the method below.
    """

    anchors: Anchors
    missed: Missed
    method: Memory


class Terms(NamedTuple):
    """The terms of the DAL loss of a batch.

    Attributes:
        domain: L_d, a scalar.
        universum: L_u, a scalar.
        anchors: after this batch.
        missed: of this batch.
        logs: both terms, the shares of the three sets, of the photos in L_d, and the mean number of K-means turns.
    """

    domain: jax.Array
    universum: jax.Array
    anchors: Anchors
    missed: Missed
    logs: Logs


def dawsol(method: Method, config: ConfigDict, classes: int) -> Method:
    """Return a method with the DAL loss in addition to its own.

    Args:
        method: CAM, or one that differs from it only in the photos and layers of training: it classifies the mean of
            its last stage.
        config: the keys of `train`, among them `dawsol`.
        classes: number of classes.

    Raises:
        InputError: the method has more than one classifier or does not classify the mean of its pixels, or values of
            the keys do not suit each other or the map.
    """
    keys, module = config.dawsol, method.module
    if type(module) is not Network:
        raise InputError(f"dawsol.use needs a method with one classifier on pooled features; method is {config.method}")
    check_pooling(module, config)
    stage = list(module.backbone.stages)[-1]
    pixels, channels = _pixels_and_channels(module, stage, config)
    _check(keys, pixels)
    if keys.domain_loss == "dann":
        module = module.clone(domain=Classifier(1, "domain", pointwise=True))

    def network(
        variables: Variables, image: jax.Array, label: jax.Array | None, key: jax.Array | None, train: bool
    ) -> tuple[Outputs, BatchStats]:
        outputs, batch_stats = method.network(variables, image, label, key, train)
        return outputs._replace(domain=variables["params"].get("domain")), batch_stats

    def objective(
        outputs: Outputs, label: jax.Array, batch: Batch, memory: DawsolMemory, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, DawsolMemory, Logs]:
        loss, method_memory, logs = method.objective(outputs, label, batch, memory.method, key, progress)
        domain_loss = _domain_loss(keys, outputs.domain, progress)
        terms = dal(_pixels(outputs.stages[stage]), label, memory.anchors, domain_loss, keys, key)
        started = progress * config.epochs >= keys.start_epoch + 1
        added = keys.domain_weight * terms.domain + keys.universum_weight * terms.universum
        missed = jax.tree.map(lambda count, new: count + started * new, memory.missed, terms.missed)
        anchors = jax.tree.map(lambda new, old: jnp.where(started, new, old), terms.anchors, memory.anchors)
        logs |= {"classification": loss} | terms.logs | {f"missed_{k}": v for k, v in missed._asdict().items()}
        return loss + started * added, DawsolMemory(anchors, missed, method_memory), logs

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        known = {name: variables[name] for name in ("params", "batch_stats")}
        prediction = method.predict(known, batch, label)
        if "memory" not in variables or not keys.assigner:
            return prediction
        outputs, _ = method.network(known, method.prepare(batch.image), None, None, False)
        features, label = outputs.stages[stage], shown_class(prediction.logits, label)
        assigned = assign_after_training(_pixels(features), label, variables["memory"].anchors)
        return prediction._replace(assignment=assigned.assignment.reshape(features.shape[:3]))

    def group(path: tuple[str, ...]) -> str:
        return "domain" if path[0] == "domain" else method.group(path)

    missed = Missed(*(jnp.zeros((), jnp.int32) for _ in Missed._fields))
    memory = DawsolMemory(no_anchors(classes, channels), missed, method.memory)
    return method._replace(
        module=module, network=network, objective=objective, memory=memory, predict=predict, group=group
    )


def dal(
    pixels: jax.Array,
    label: jax.Array,
    anchors: Anchors,
    domain_loss: DomainLoss,
    keys: ConfigDict,
    key: jax.Array,
    sampler: Sampler = jax.random.uniform,
) -> Terms:
    """Return the two terms of the DAL loss and the updated anchors; gradients reach the pixels alone.

    Args:
        pixels: float32 [b, n, d].
        label: int [b].
        anchors: before this batch.
        domain_loss: L_d of samples; see `losses.mmd`, `losses.dann`.
        keys: `train.dawsol`.
        key: of the draw of pixels.
        sampler: scores the pixels for the draw.
    """
    score = sampler(key, pixels.shape[:2])
    if not keys.assigner:
        return _without_assigner(pixels, anchors, domain_loss, score, keys.samples)
    fixed = jax.lax.stop_gradient(pixels)
    if keys.anchor_order == "sequential":
        assigned, after = assign_in_turn(fixed, label, anchors, keys.anchor_update, keys.anchor_offset)
    else:
        assigned = assign(fixed, label, anchors, keys.anchor_offset)
        after = updated(anchors, fixed, label, assigned, keys.anchor_update, keys.anchor_offset)
    sets = assigned.assignment
    fakes, enough_fakes = _drawn(pixels, score, sets, FAKE, keys.samples - 1)
    target, enough_reals = _drawn(pixels, score, sets, REAL, keys.samples)
    source, kept = jnp.concatenate([pixels.mean(axis=1, keepdims=True), fakes], axis=1), enough_fakes & enough_reals
    of_domain, flat = domain_loss(source, target, kept)
    is_universum = sets == UNIVERSUM
    of_universum = universum.l1(pixels, is_universum, keys.universum)
    missed = Missed(~kept.any(), ~is_universum.any(), flat)
    shares = {f"share_{name}": (sets == which).mean() for which, name in enumerate(SETS)}
    logs = {"domain": of_domain, "universum": of_universum, "kept": kept.mean(), "turns": assigned.turns.mean()}
    return Terms(of_domain, of_universum, after, missed, logs | shares)


def _without_assigner(
    pixels: jax.Array, anchors: Anchors, domain_loss: DomainLoss, score: jax.Array, count: int
) -> Terms:
    """The terms in the first row of the paper's ablation: pooled features against any pixels (no details published)."""
    target, _ = _drawn(pixels, score, jnp.full(score.shape, REAL), REAL, count)
    source, target = pixels.mean(axis=1)[None], target.reshape(1, -1, pixels.shape[-1])
    loss, flat = domain_loss(source, target, jnp.ones(1, bool))
    none = jnp.zeros((), bool)
    return Terms(loss, jnp.zeros(()), anchors, Missed(none, none, flat), {"domain": loss})


def _drawn(
    pixels: jax.Array, score: jax.Array, assignment: jax.Array, which: int, count: int
) -> tuple[jax.Array, jax.Array]:
    """Pixels [b, count, d] of one set of each photo, and bool [b], whether it has enough; see `draw`."""
    place, enough = devices.per_shard(partial(draw, which=which, count=count), (score, assignment), ())
    return jax.vmap(lambda pixels, place: pixels[place])(pixels, place), enough


def _domain_loss(keys: ConfigDict, domain: Any, progress: jax.Array) -> DomainLoss:
    if keys.domain_loss == "mmd_linear":
        return mmd.linear
    if keys.domain_loss == "mmd_quadratic":
        return mmd.quadratic
    strength = dann.strength(progress, keys.gamma)

    def classify_domains(source: jax.Array, target: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = [_domain_logits(domain, dann.reverse_gradient(side, strength)) for side in (source, target)]
        return dann.adversarial(*logits, mask), jnp.zeros((), jnp.int32)

    return classify_domains


def _domain_logits(domain: dict[str, Any], features: jax.Array) -> jax.Array:
    layer = domain["domain"]
    return jnp.matmul(features, layer["kernel"][0, 0, :, 0]) + layer["bias"][0]


def _pixels(features: jax.Array) -> jax.Array:
    b, h, w, d = features.shape
    return features.reshape(b, h * w, d).astype(jnp.float32)


def _pixels_and_channels(module: Network, stage: str, config: ConfigDict) -> tuple[int, int]:
    """The number of pixels and of channels in the map of a stage."""
    size = input_size(config)
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    outputs, _ = jax.eval_shape(lambda image: module.init_with_output(jax.random.key(0), image, False), image)
    _, h, w, d = outputs.maps[stage].shape
    return h * w, d


def _check(keys: ConfigDict, pixels: int) -> None:
    """Raise InputError for values that do not suit each other or the map."""
    if keys.assigner and not 2 <= keys.samples <= (pixels + 1) // 2:
        raise InputError(
            f"dawsol.samples is {keys.samples}; expected 2 to {(pixels + 1) // 2}: as many real and one less fake "
            f"target samples of the {pixels} pixels of a map"
        )
    if not keys.assigner and keys.samples > pixels:
        raise InputError(f"dawsol.samples is {keys.samples}; expected at most the {pixels} pixels of a map")
    if not keys.assigner and (keys.domain_loss == "mmd_linear" or keys.universum_weight):
        raise InputError(
            "dawsol.assigner=False has no Universum and as many pooled features as photos; expected "
            "dawsol.universum_weight=0 and dawsol.domain_loss of mmd_quadratic or dann"
        )
