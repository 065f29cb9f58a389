"""DA-WSOL: what a classifier learns from the mean of a map is adapted to the map's pixels (Zhu et al., CVPR 2022).

A classifier is trained on pooled features, the source domain, and asked about pixels, the target domain. On top of the
loss of any method, the domain adaption localization (DAL) loss pulls both domains together and presses what belongs to
no class to zero (paper, section 3.2).
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
    assign_in_turn,
    draw,
    look,
    no_anchors,
    updated,
)
from wsol_jax.methods.method import Logs, Method
from wsol_jax.methods.networks import check_pooling, input_size

DomainLoss = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""(source [b, n, d], target [b, m, d], mask bool [b]) -> the loss, and int32, how many photos of the mask are flat."""

Sampler = Callable[[jax.Array, tuple[int, int]], jax.Array]
"""(key, (b, n)) -> scores [b, n], at least 0 and different in a photo: pixels with the largest are drawn."""


class Missed(NamedTuple):
    """How often a term was zero because there was nothing to compute it from; the published code gives NaN there.

    A batch of two labels, as CutMix's, counts for each of them.

    Attributes:
        pairs: int32, batches of which no photo had enough pixels for the domain loss.
        universum: int32, batches without a pixel that belongs to no class.
        spread: int32, photos whose samples were all the same.
    """

    pairs: jax.Array
    universum: jax.Array
    spread: jax.Array


class Memory(NamedTuple):
    """What is remembered between steps.

    Attributes:
        anchors: of the target sample assigner.
        missed: counts since the first step.
        method: what the method below remembers.
    """

    anchors: Anchors
    missed: Missed
    method: Any


class Terms(NamedTuple):
    """The DAL loss of a batch.

    Attributes:
        domain: L_d.
        universum: L_u.
        anchors: after this batch.
        missed: of this batch.
        logs: the sizes of the three sets and how many photos took part.
    """

    domain: jax.Array
    universum: jax.Array
    anchors: Anchors
    missed: Missed
    logs: Logs


def dawsol(method: Method, config: ConfigDict, classes: int) -> Method:
    """A method with the DAL loss on top of its own.

    Args:
        method: CAM or one of those that only change how its network sees photos: its last stage is the one whose mean
            is classified.
        config: the keys of `train` in configs/base.py, among them `dawsol`.
        classes: how many there are.

    Raises:
        InputError: the method has more than one classifier, or one of more than the mean of its pixels, or the keys
            do not fit each other or the map.
    """
    keys, module = config.dawsol, method.module
    if type(module) is not Network:
        raise InputError(f"dawsol.use goes with methods of one classifier on pooled features, not with {config.method}")
    check_pooling(module, config)
    stage = list(module.backbone.stages)[-1]
    pixels, channels = _pixels_and_channels(module, stage, config)
    _check(keys, pixels)
    if keys.domain_loss == "dann":
        module = module.clone(domain=Classifier(1, "domain", pointwise=True))

    def network(variables, image, label, key, train):
        outputs, batch_stats = method.network(variables, image, label, key, train)
        return outputs._replace(domain=variables["params"].get("domain")), batch_stats

    def objective(outputs, label, batch, memory, key, progress):
        loss, remembered, logs = method.objective(outputs, label, batch, memory.method, key, progress)
        domain_loss = _domain_loss(keys, outputs.domain, progress)
        terms = dal(_pixels(outputs.stages[stage]), label, memory.anchors, domain_loss, keys, key)
        begun = progress * config.epochs >= keys.start_epoch + 1
        added = keys.domain_weight * terms.domain + keys.universum_weight * terms.universum
        missed = jax.tree.map(lambda count, new: count + begun * new, memory.missed, terms.missed)
        anchors = jax.tree.map(lambda new, old: jnp.where(begun, new, old), terms.anchors, memory.anchors)
        logs |= {"classification": loss} | terms.logs | {f"missed_{k}": v for k, v in missed._asdict().items()}
        return loss + begun * added, Memory(anchors, missed, remembered), logs

    def predict(variables, batch, label=None):
        known = {name: variables[name] for name in ("params", "batch_stats")}
        said = method.predict(known, batch, label)
        if "memory" not in variables or not keys.assigner:
            return said
        outputs, _ = method.network(known, method.prepare(batch.image), None, None, False)
        features, label = outputs.stages[stage], shown_class(said.logits, label)
        found = look(_pixels(features), label, variables["memory"].anchors)
        return said._replace(assignment=found.assignment.reshape(features.shape[:3]))

    def group(path):
        return "domain" if path[0] == "domain" else method.group(path)

    memory = Memory(no_anchors(classes, channels), Missed(*(jnp.zeros((), jnp.int32) for _ in range(3))), method.memory)
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
    """The two terms of the DAL loss and what the assigner learns; gradients reach the pixels alone.

    Args:
        pixels: float32 [b, n, d].
        label: int [b].
        anchors: before this batch.
        domain_loss: L_d of samples; see `losses.mmd`, `losses.dann`.
        keys: `train.dawsol` of configs/base.py.
        key: of the draw of pixels.
        sampler: how they are drawn.
    """
    score = sampler(key, pixels.shape[:2])
    if not keys.assigner:
        return _without_assigner(pixels, anchors, domain_loss, score, keys.samples)
    fixed = jax.lax.stop_gradient(pixels)
    if keys.anchor_order == "sequential":
        said, after = assign_in_turn(fixed, label, anchors, keys.anchor_update, keys.anchor_offset)
    else:
        said = assign(fixed, label, anchors, keys.anchor_offset)
        after = updated(anchors, fixed, label, said, keys.anchor_update, keys.anchor_offset)
    fakes, enough_fakes = _drawn(pixels, score, said.assignment, FAKE, keys.samples - 1)
    target, enough_reals = _drawn(pixels, score, said.assignment, REAL, keys.samples)
    source, kept = jnp.concatenate([pixels.mean(axis=1, keepdims=True), fakes], axis=1), enough_fakes & enough_reals
    of_domain, flat = domain_loss(source, target, kept)
    is_universum = said.assignment == UNIVERSUM
    of_universum = universum.l1(pixels, is_universum, keys.universum)
    missed = Missed(~kept.any(), ~is_universum.any(), flat)
    shares = {f"share_{name}": (said.assignment == which).mean() for which, name in enumerate(SETS)}
    logs = {"domain": of_domain, "universum": of_universum, "kept": kept.mean(), "turns": said.turns.mean()} | shares
    return Terms(of_domain, of_universum, after, missed, logs)


def _without_assigner(
    pixels: jax.Array, anchors: Anchors, domain_loss: DomainLoss, score: jax.Array, count: int
) -> Terms:
    """The first row of the paper's ablation: pooled features against any pixels (it leaves open how exactly)."""
    target, _ = _drawn(pixels, score, jnp.full(score.shape, REAL), REAL, count)
    source, target = pixels.mean(axis=1)[None], target.reshape(1, -1, pixels.shape[-1])
    loss, flat = domain_loss(source, target, jnp.ones(1, bool))
    none = jnp.zeros((), bool)
    return Terms(loss, jnp.zeros(()), anchors, Missed(none, none, flat), {"domain": loss})


def _drawn(
    pixels: jax.Array, score: jax.Array, assignment: jax.Array, which: int, count: int
) -> tuple[jax.Array, jax.Array]:
    """Pixels [b, count, d] of one set of each photo, and bool [b], whether it has enough; see `draw`."""
    choose = partial(draw, which=which, count=count)
    place, enough = devices.per_shard(choose, (score, assignment), ())
    return jax.vmap(lambda pixels, place: pixels[place])(pixels, place), enough


def _domain_loss(keys: ConfigDict, domain: Any, progress: jax.Array) -> DomainLoss:
    if keys.domain_loss == "mmd_linear":
        return mmd.linear
    if keys.domain_loss == "mmd_quadratic":
        return mmd.quadratic
    strength = dann.strength(progress, keys.gamma)

    def tell_apart(source, target, mask):
        logits = [_domain_logits(domain, dann.reverse_gradient(side, strength)) for side in (source, target)]
        return dann.adversarial(*logits, mask), jnp.zeros((), jnp.int32)

    return tell_apart


def _domain_logits(domain: dict[str, Any], features: jax.Array) -> jax.Array:
    layer = domain["domain"]
    return jnp.matmul(features, layer["kernel"][0, 0, :, 0]) + layer["bias"][0]


def _pixels(features: jax.Array) -> jax.Array:
    b, h, w, d = features.shape
    return features.reshape(b, h * w, d).astype(jnp.float32)


def _pixels_and_channels(module: Network, stage: str, config: ConfigDict) -> tuple[int, int]:
    """How many pixels the map of a stage has, and how many channels."""
    size = input_size(config)
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    outputs, _ = jax.eval_shape(lambda image: module.init_with_output(jax.random.key(0), image, False), image)
    _, h, w, d = outputs.maps[stage].shape
    return h * w, d


def _check(keys: ConfigDict, pixels: int) -> None:
    """Keys that do not fit each other or the map."""
    if keys.assigner and not 2 <= keys.samples <= (pixels + 1) // 2:
        raise InputError(
            f"dawsol.samples is {keys.samples}; a map of {pixels} pixels allows 2 to {(pixels + 1) // 2}: "
            "so many real and one less fake targets"
        )
    if not keys.assigner and keys.samples > pixels:
        raise InputError(f"dawsol.samples is {keys.samples}; expected at most the {pixels} pixels of a map")
    if not keys.assigner and (keys.domain_loss == "mmd_linear" or keys.universum_weight):
        raise InputError(
            "dawsol.assigner=False has no Universum and as many pooled features as photos; expected "
            "dawsol.universum_weight=0 and dawsol.domain_loss of mmd_quadratic or dann"
        )
