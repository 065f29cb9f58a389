"""DA-WSOL's target sample assigner: which pixels of a photo are background, like the photo's mean, or to be won over.

Each photo's pixels are clustered from three places: the anchor of all Universum sets, the photo's own mean, and the
anchor of its class (paper, section 3.3; its equations 5 to 8 as the published code computes them).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wsol_jax import devices
from wsol_jax.methods.dawsol.kmeans import CLUSTERS, cluster

SETS = ("universum", "fake", "real")
UNIVERSUM, FAKE, REAL = range(CLUSTERS)
ANCHOR_ORDERS = ("batch", "sequential")
ANCHOR_UPDATES = ("fake", "real")


class Anchors(NamedTuple):
    """What the assigner remembers.

    Attributes:
        of_class: [k, d], zeros before a class's first photo.
        visits: int32 [k], photos that each is the mean of, the first one counted twice (by its mean, by a centre).
        universum: [d].
        photos: int32, that it is the mean of.
    """

    of_class: jax.Array
    visits: jax.Array
    universum: jax.Array
    photos: jax.Array


class Assigned(NamedTuple):
    """What the assigner says about photos.

    Attributes:
        assignment: int32 [b, n], `UNIVERSUM`, `FAKE` or `REAL` for every pixel.
        centres: [b, 3, d].
        turns: int32 [b], of K-means.
    """

    assignment: jax.Array
    centres: jax.Array
    turns: jax.Array


def no_anchors(classes: int, channels: int) -> Anchors:
    """Before the first photo."""
    return Anchors(
        jnp.zeros((classes, channels)),
        jnp.zeros(classes, jnp.int32),
        jnp.zeros(channels),
        jnp.zeros((), jnp.int32),
    )


def assign(pixels: jax.Array, label: jax.Array, anchors: Anchors, offset: float = 0.0) -> Assigned:
    """Clusters photos, all of them against the anchors given; several devices do not talk while they do.

    A class's first anchor is the mean of the first photo of that class in the batch, for all of the batch. That photo's
    own second and third start are then the same, and its third cluster begins with the farthest pixel.

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
    """As published: each photo of the batch is clustered against the anchors that the photos before it left.

    Args:
        pixels: float32 [b, n, d]; several devices gather them.
        label: int [b].
        anchors: before these photos.
        update: see `updated`.
        offset: see `assign`.

    Returns:
        What is said about the photos, and the anchors after them.
    """

    def one(anchors: Anchors, photo: tuple[jax.Array, jax.Array]) -> tuple[Anchors, Assigned]:
        pixels, label = (leaf[None] for leaf in photo)
        own = _own_anchor(pixels.mean(axis=1), label, anchors, offset)
        said = _cluster_all(pixels, own.start, own.is_first & (offset == 0), anchors.universum)
        return updated(anchors, pixels, label, said, update, offset), jax.tree.map(lambda leaf: leaf[0], said)

    anchors, said = jax.lax.scan(one, anchors, (pixels, label))
    return said, anchors


def updated(
    anchors: Anchors, pixels: jax.Array, label: jax.Array, said: Assigned, update: str, offset: float = 0.0
) -> Anchors:
    """The anchors after photos: running means of the centres that were found, summed over all devices.

    Args:
        anchors: before these photos.
        pixels: float32 [b, n, d].
        label: int [b].
        said: of these photos.
        update: 'fake', a class's anchor follows the centres of its photos' fake target sets (published code), or
            'real', those of the real ones (paper).
        offset: see `assign`.
    """
    own = _own_anchor(pixels.mean(axis=1), label, anchors, offset)
    centre = said.centres[:, {"fake": FAKE, "real": REAL}[update]]
    of_class = (label[:, None] == jnp.arange(len(anchors.visits))[None]).astype(jnp.int32)
    gained = centre + jnp.where(own.is_first[:, None], own.start, 0)
    total = anchors.of_class * anchors.visits[:, None]
    total += jnp.matmul(of_class.T.astype(jnp.float32), gained, precision="highest")
    visits = anchors.visits + (of_class * (1 + own.is_first[:, None])).sum(axis=0)
    photos = anchors.photos + len(label)
    universum = anchors.universum * anchors.photos + said.centres[:, UNIVERSUM].sum(axis=0)
    return Anchors(
        total / jnp.maximum(visits, 1)[:, None].astype(jnp.float32),
        visits,
        universum / photos.astype(jnp.float32),
        photos,
    )


def look(pixels: jax.Array, label: jax.Array, anchors: Anchors) -> Assigned:
    """Clusters photos after training, each on its own: nothing is remembered, a class never visited has no anchor.

    Args:
        pixels: float32 [b, n, d].
        label: int [b].
        anchors: after training.
    """
    is_new = anchors.visits[label] == 0
    own = jnp.where(is_new[:, None], pixels.mean(axis=1), anchors.of_class[label])
    return devices.per_shard(_cluster_all, (pixels, own, is_new), (anchors.universum,))


class _OwnAnchor(NamedTuple):
    """Of each photo.

    Attributes:
        start: [b, d], its class's anchor.
        is_first: bool [b], it is its class's first photo and gives that anchor itself.
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
    """One photo after another: each takes only its own turns."""

    def one(photo: tuple[jax.Array, jax.Array, jax.Array]) -> Assigned:
        x, own, is_tied = photo
        found = cluster(x, jnp.stack([universum, x.mean(axis=0), own]), is_tied)
        return Assigned(found.assignment, found.centres, found.turns)

    return jax.lax.map(one, (pixels, own, is_tied))


def draw(score: jax.Array, assignment: jax.Array, which: int, count: int) -> tuple[jax.Array, jax.Array]:
    """Pixels of one set of each photo, without replacement.

    Args:
        score: [b, n] in [0, 1), different in a photo; those with the largest are drawn.
        assignment: int32 [b, n].
        which: the set.
        count: how many.

    Returns:
        int32 [b, count], their places, meaningless where there are too few; and bool [b], whether there are enough.
    """
    is_in = assignment == which
    place = jax.lax.top_k(jnp.where(is_in, score, -1.0), count)[1]
    return place, is_in.sum(axis=1) >= count
