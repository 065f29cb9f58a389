"""DA-WSOL's target sample assigner: the pixels of a photo split into Universum, fake and real target samples.

Universum pixels belong to no class, fake target samples are like the photo's mean and join the source domain, and real
target samples are the ones to adapt. Each photo's pixels are clustered by K-means from three centres: the anchor of all
Universum sets, the photo's own mean, and the anchor of its class (paper, section 3.3; its equations 5 to 8 as the
published code computes them).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wsol_jax import devices
from wsol_jax.methods.dawsol.kmeans import CLUSTERS, cluster

SETS = ("universum", "fake", "real")
"""The names of the three sets; a set's number is its place here."""

UNIVERSUM, FAKE, REAL = range(CLUSTERS)
ANCHOR_ORDERS = ("batch", "sequential")
ANCHOR_UPDATES = ("fake", "real")


class Anchors(NamedTuple):
    """The starting centres of K-means, running means over all photos so far.

    Attributes:
        of_class: [k, d], zeros before a class's first photo.
        visits: int32 [k], the number of photos in each class's mean; the first one counts twice, by its pooled features
            and by its centre.
        universum: [d].
        photos: int32, the number of photos in `universum`.
    """

    of_class: jax.Array
    visits: jax.Array
    universum: jax.Array
    photos: jax.Array


class Assigned(NamedTuple):
    """The sets of the pixels of photos.

    Attributes:
        assignment: int32 [b, n], the set of every pixel: `UNIVERSUM`, `FAKE` or `REAL`.
        centres: [b, 3, d], the mean pixel of each set.
        turns: int32 [b], the number of turns of K-means.
    """

    assignment: jax.Array
    centres: jax.Array
    turns: jax.Array


def no_anchors(classes: int, channels: int) -> Anchors:
    """Return the anchors before the first photo.

    Args:
        classes: number of classes.
        channels: of a pixel.
    """
    return Anchors(
        jnp.zeros((classes, channels)),
        jnp.zeros(classes, jnp.int32),
        jnp.zeros(channels),
        jnp.zeros((), jnp.int32),
    )


def assign(pixels: jax.Array, label: jax.Array, anchors: Anchors, offset: float = 0.0) -> Assigned:
    """Return the sets of the pixels of photos, all clustered from the same anchors, without communication of devices.

    A class's first anchor is the mean of the first photo of that class in the batch, for all of the batch. That photo's
    own second and third starting centre are then the same, and its third cluster starts with the farthest pixel.

    Args:
        pixels: float32 [b, n, d].
        label: int [b].
        anchors: before these photos.
        offset: added to a class's first anchor (the paper's epsilon; 0 in the published code).
    """
    own = _own_anchor(pixels.mean(axis=1), label, anchors, offset)
    return devices.per_shard(_cluster_all, (pixels, own.start, own.is_first & (offset == 0)), (anchors.universum,))


def assign_in_turn(
    pixels: jax.Array, label: jax.Array, anchors: Anchors, update: str, offset: float = 0.0
) -> tuple[Assigned, Anchors]:
    """Return the sets of the pixels of photos, clustered one after another as published, and the anchors after them.

    Each photo of the batch is clustered from the anchors as the photos before it have updated them.

    Args:
        pixels: float32 [b, n, d]; several devices gather them.
        label: int [b].
        anchors: before these photos.
        update: see `updated`.
        offset: see `assign`.
    """

    def one(anchors: Anchors, photo: tuple[jax.Array, jax.Array]) -> tuple[Anchors, Assigned]:
        pixels, label = (leaf[None] for leaf in photo)
        own = _own_anchor(pixels.mean(axis=1), label, anchors, offset)
        assigned = _cluster_all(pixels, own.start, own.is_first & (offset == 0), anchors.universum)
        after = updated(anchors, pixels, label, assigned, update, offset)
        return after, jax.tree.map(lambda leaf: leaf[0], assigned)

    anchors, assigned = jax.lax.scan(one, anchors, (pixels, label))
    return assigned, anchors


def updated(
    anchors: Anchors, pixels: jax.Array, label: jax.Array, assigned: Assigned, update: str, offset: float = 0.0
) -> Anchors:
    """Return the anchors after photos, running means of the centres of their sets, summed over all devices.

    Args:
        anchors: before these photos.
        pixels: float32 [b, n, d].
        label: int [b].
        assigned: the sets of these photos.
        update: 'fake', a class's anchor follows the centres of its photos' fake target sets (published code), or
            'real', those of the real ones (paper).
        offset: see `assign`.
    """
    own = _own_anchor(pixels.mean(axis=1), label, anchors, offset)
    centre = assigned.centres[:, {"fake": FAKE, "real": REAL}[update]]
    of_class = (label[:, None] == jnp.arange(len(anchors.visits))[None]).astype(jnp.int32)
    gained = centre + jnp.where(own.is_first[:, None], own.start, 0)
    total = anchors.of_class * anchors.visits[:, None]
    total += jnp.matmul(of_class.T.astype(jnp.float32), gained, precision="highest")
    visits = anchors.visits + (of_class * (1 + own.is_first[:, None])).sum(axis=0)
    photos = anchors.photos + len(label)
    universum = anchors.universum * anchors.photos + assigned.centres[:, UNIVERSUM].sum(axis=0)
    return Anchors(
        total / jnp.maximum(visits, 1)[:, None].astype(jnp.float32),
        visits,
        universum / photos.astype(jnp.float32),
        photos,
    )


def assign_after_training(pixels: jax.Array, label: jax.Array, anchors: Anchors) -> Assigned:
    """Return the sets of the pixels of photos, each clustered on its own from the final anchors.

    For a class without an anchor, because training saw no photo of it, the photo's own mean takes its place.

    Args:
        pixels: float32 [b, n, d].
        label: int [b].
        anchors: after training.
    """
    is_new = anchors.visits[label] == 0
    own = jnp.where(is_new[:, None], pixels.mean(axis=1), anchors.of_class[label])
    return devices.per_shard(_cluster_all, (pixels, own, is_new), (anchors.universum,))


class _OwnAnchor(NamedTuple):
    """The class anchors of photos.

    Attributes:
        start: [b, d], the anchor of each photo's class.
        is_first: bool [b], whether it is the first photo of its class, whose mean is that anchor.
    """

    start: jax.Array
    is_first: jax.Array


def _own_anchor(pooled: jax.Array, label: jax.Array, anchors: Anchors, offset: float) -> _OwnAnchor:
    classes, b = len(anchors.visits), len(label)
    place = jnp.arange(b)
    first_place = jnp.full(classes, b).at[label].min(place)
    is_first = (first_place[label] == place) & (anchors.visits[label] == 0)
    is_class = (label[:, None] == jnp.arange(classes)[None]) & is_first[:, None]
    first = jnp.matmul(is_class.astype(jnp.float32).T, pooled + offset, precision="highest")
    return _OwnAnchor(jnp.where((anchors.visits > 0)[:, None], anchors.of_class, first)[label], is_first)


def _cluster_all(pixels: jax.Array, own: jax.Array, is_tied: jax.Array, universum: jax.Array) -> Assigned:
    """The sets of photos, clustered one after another so that each takes only its own number of turns."""

    def one(photo: tuple[jax.Array, jax.Array, jax.Array]) -> Assigned:
        x, own, is_tied = photo
        clusters = cluster(x, jnp.stack([universum, x.mean(axis=0), own]), is_tied)
        return Assigned(clusters.assignment, clusters.centres, clusters.turns)

    return jax.lax.map(one, (pixels, own, is_tied))


def draw(score: jax.Array, assignment: jax.Array, which: int, count: int) -> tuple[jax.Array, jax.Array]:
    """Return the places of pixels of one set of each photo, drawn without replacement, and whether it has enough.

    Args:
        score: [b, n] in [0, 1), different for the pixels of a photo; those with the largest are drawn.
        assignment: int32 [b, n].
        which: the set.
        count: number of pixels to draw.

    Returns:
        int32 [b, count], meaningless where the set has fewer pixels; and bool [b], whether it has as many.
    """
    is_in = assignment == which
    place = jax.lax.top_k(jnp.where(is_in, score, -1.0), count)[1]
    return place, is_in.sum(axis=1) >= count
