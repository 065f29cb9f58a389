"""Deep descriptor transformation (Wei et al. 2019; PSOL, section 3.2.1): heat maps along the first principal direction.

Each photo goes through the network once. Its features stay on the devices, and their moments are added to its group's;
when the last photo of a group has passed, the first principal direction is computed and the same features are projected
on it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wsol_jax import devices, processes
from wsol_jax.arrays import scratch
from wsol_jax.errors import InputError
from wsol_jax.pseudo import moments
from wsol_jax.pseudo.moments import Moments

SIGN_RULES = ("max_projection", "max_loading", "max_plus_min")
RELATIVE_ZERO = 1e-6  # of the mean square: a variance below it is rounding

Forward = Callable[[jax.Array], jax.Array]
"""uint8 [b, size, size, 3] -> features [b, h, w, d], both spread over the devices."""


class Direction(NamedTuple):
    """The statistics of a group of photos.

    Attributes:
        mean: float32 [d], of all descriptors.
        direction: float32 [d], of length 1, positive on the object; zeros where the photos show no direction.
        explained: share of the variance along it, in [0, 1].
        deviation: standard deviation of the projections.
        images: how many photos.
        sign: the rule that chose between the direction and its opposite.
    """

    mean: np.ndarray
    direction: np.ndarray
    explained: float
    deviation: float
    images: int
    sign: str


def undefined(dimensions: int, images: int, sign: str) -> Direction:
    """Return the direction of photos that have none: heat maps are zero, boxes the whole image, flagged as fallback."""
    return Direction(np.zeros(dimensions, np.float32), np.zeros(dimensions, np.float32), 0.0, 0.0, images, sign)


def principal_direction(total: Moments, images: int, sign: str) -> Direction:
    """Return the first principal direction of a group, its sign not yet chosen.

    It is undefined for fewer than two photos (one photo has nothing in common with others) and for constant features.

    Args:
        total: the moments of its descriptors.
        images: number of photos.
        sign: the rule that will choose the sign, see `orientation`.
    """
    dimensions = len(total.mean)
    covariance = total.scatter / max(float(total.count), 1.0)
    variance, mean_square = np.trace(covariance), np.square(total.mean).sum()
    if images < 2 or not variance > RELATIVE_ZERO * (mean_square + variance):
        return undefined(dimensions, images, sign)
    values, vectors = jnp.linalg.eigh(jnp.asarray(covariance / variance, jnp.float32))
    explained = float(values[-1])
    return Direction(
        np.asarray(total.mean, np.float32), np.asarray(vectors[:, -1]), explained,
        float(np.sqrt(max(explained, 0.0) * variance)), images, sign,
    )  # fmt: skip


def orientation(rule: str, direction: np.ndarray, heat: np.ndarray) -> float:
    """Return 1 or -1, the sign with which a direction points at the object; published code leaves it to scikit-learn.

    Args:
        rule: 'max_projection': the cell with the largest absolute heat is positive (scikit-learn < 1.5, hence PSOL's
            published boxes); 'max_loading': the largest absolute entry of the direction is (scikit-learn >= 1.5,
            MATLAB); 'max_plus_min': the larger of the two extremes of the heat is.
        direction: [d].
        heat: [n, h, w], all heat maps of the group under `direction`.

    Raises:
        InputError: for another rule.
    """
    if rule not in SIGN_RULES:
        raise InputError(f"pseudo.sign is {rule!r}; expected one of {', '.join(SIGN_RULES)}")
    if rule == "max_loading":
        extreme = direction[np.abs(direction).argmax()]
    elif rule == "max_projection":
        ends = sorted((heat.argmin(), heat.argmax()))
        extreme = max(heat.ravel()[ends], key=abs)  # of equals the first in the order of the cells
    else:
        extreme = heat.max() + heat.min()
    return -1.0 if extreme < 0 else 1.0


@jax.jit
def project(features: jax.Array, mean: jax.Array, direction: jax.Array) -> jax.Array:
    """Return heat maps [b, h, w] of features [b, h, w, d]: (feature - mean) . direction, mean and direction [b, d]."""
    centred = features.astype(jnp.float32) - mean[:, None, None]
    return jnp.einsum("bhwd,bd->bhw", centred, direction, precision="highest")


class Chunk(NamedTuple):
    """A batch of photos: their indices, known to every process, and their pixels, spread over the devices.

    Attributes:
        index: int [b], of the photos.
        valid: bool [b], False for padding.
        image: uint8 [b, size, size, 3].
    """

    index: np.ndarray
    valid: np.ndarray
    image: jax.Array


Reader = Callable[[np.ndarray], Iterable[Chunk]]
"""Indices of photos -> the photos, in that order."""


class _Piece(NamedTuple):
    """The share of one chunk in one group; `features` is None where there was no room to keep them."""

    index: np.ndarray
    rows: np.ndarray
    features: jax.Array | None


class _Passed(NamedTuple):
    """The photos of a group that have passed.

    Attributes:
        pieces: their shares of the chunks.
        total: the moments of all pieces but the last, on this host.
        last: those of the last piece, on the devices; they are added while the devices work on the next chunk.
    """

    pieces: list[_Piece]
    total: Moments
    last: Moments

    def all_moments(self, fetch: Callable[[jax.Array], np.ndarray]) -> Moments:
        """Return the moments of all pieces, on this host."""
        return moments.merge(self.total, Moments(*(fetch(x) for x in self.last)))


def find_directions(
    forward: Forward,
    read: Reader,
    groups: np.ndarray,
    *,
    done: Collection[int],
    batch_size: int,
    sign: str,
    max_bytes: int,
    fetch: Callable[[jax.Array], np.ndarray],
    log: Callable[[str], None],
    folder: Path | None = None,
) -> Iterator[tuple[int, Direction, np.ndarray, np.ndarray]]:
    """Yield each group's direction and heat maps, as soon as its last photo has passed, in the first process alone.

    The others take part in the work of the devices, and keep no heat maps.

    Args:
        forward: the network.
        read: the photos.
        groups: int [n], the group of each photo.
        done: groups to leave out; the photos of the others stay in the chunks they would be in without it.
        batch_size: photos in a chunk.
        sign: a rule of `orientation`.
        max_bytes: of features to keep on the devices for a group; the photos beyond pass twice.
        fetch: array on the devices -> array on this host.
        log: is called with a line that counts photos that pass twice.
        folder: of the file of a group's many heat maps, see `arrays.scratch`.

    Yields:
        group, its direction, the indices [m] of its photos in order, their heat maps float32 [m, h, w].
    """
    order = np.argsort(groups, kind="stable")
    chunks = (order[start : start + batch_size] for start in range(0, len(order), batch_size))
    needed = [chunk for chunk in chunks if not set(groups[chunk].tolist()) <= set(done)]
    unfinished: dict[int, _Passed] = {}
    for chunk in read(np.concatenate(needed)) if needed else ():
        features = forward(chunk.image)
        present = [g for g in np.unique(groups[chunk.index[chunk.valid]]).tolist() if g not in done]
        for group in [g for g in unfinished if g < present[0]]:
            yield from _finish(group, unfinished.pop(group), forward, read, sign, fetch, log, folder)
        for group in present:
            rows = chunk.valid & (groups[chunk.index] == group)
            unfinished[group] = _with_chunk(unfinished.get(group), chunk, rows, features, max_bytes, fetch)
    for group in list(unfinished):
        yield from _finish(group, unfinished.pop(group), forward, read, sign, fetch, log, folder)


_moments = jax.jit(moments.of)


def _with_chunk(
    before: _Passed | None, chunk: Chunk, rows: np.ndarray, features: jax.Array, max_bytes: int, fetch: Callable
) -> _Passed:
    """The photos of a group that have passed, with those of one more chunk."""
    last = _moments(features, rows.astype(np.float32))
    pieces = before.pieces if before else []
    total = before.all_moments(fetch) if before else moments.empty(features.shape[-1])
    room = features.nbytes * (1 + len(pieces)) <= max_bytes
    pieces.append(_Piece(chunk.index, rows, features if room else None))
    return _Passed(pieces, total, last)


def _finish(
    group: int,
    passed: _Passed,
    forward: Forward,
    read: Reader,
    sign: str,
    fetch: Callable,
    log: Callable[[str], None],
    folder: Path | None,
) -> Iterator[tuple[int, Direction, np.ndarray, np.ndarray]]:
    members = np.concatenate([p.index[p.rows] for p in passed.pieces])
    direction = principal_direction(passed.all_moments(fetch), len(members), sign)

    kept = [(p.features, p.rows) for p in passed.pieces if p.features is not None]
    dropped = [p.index[p.rows] for p in passed.pieces if p.features is None]
    if dropped:
        again = np.concatenate(dropped)
        log(f"{len(again)} of {len(members)} photos exceed pseudo.max_bytes and pass twice")
        kept = chain(kept, ((forward(c.image), c.valid) for c in read(again)))
    heat, filled = None, 0
    for projected, rows in devices.ahead(
        (_project(features, [direction] * len(rows)), rows) for features, rows in kept
    ):
        maps = fetch(projected)[rows]
        if processes.is_first():
            heat = scratch(folder, (len(members), *maps.shape[1:]), maps.dtype) if heat is None else heat
            heat[filled : filled + len(maps)] = maps
            filled += len(maps)

    if processes.is_first():
        turn = np.float32(orientation(sign, direction.direction, heat))
        heat *= turn
        yield group, direction._replace(direction=direction.direction * turn), members, heat


def apply_directions(
    forward: Forward, read: Reader, groups: np.ndarray, known: dict[int, Direction], fetch: Callable
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield heat maps of other photos of known groups, e.g. test photos by their class's statistics (PSOL, Table 1).

    They are yielded in the first process alone, see `find_directions`.

    Args:
        forward: the network.
        read: the photos.
        groups: int [n], the group of each photo; photos of an unknown group get heat maps of zeros.
        known: group -> its direction.
        fetch: array on the devices -> array on this host.

    Yields:
        indices [m] of photos, their heat maps float32 [m, h, w].

    Raises:
        InputError: a direction is of other features.
    """

    def projected() -> Iterator[tuple[Chunk, jax.Array]]:
        for chunk in read(np.arange(len(groups))):
            features = forward(chunk.image)
            _require_dimensions(known, features.shape[-1])
            nothing = undefined(features.shape[-1], 0, "")
            yield chunk, _project(features, [known.get(int(g), nothing) for g in groups[chunk.index]])

    for chunk, maps in devices.ahead(projected()):
        maps = fetch(maps)
        if processes.is_first():
            yield chunk.index[chunk.valid], maps[chunk.valid]


def _require_dimensions(known: dict[int, Direction], dimensions: int) -> None:
    """Raise InputError for a direction of other features."""
    for group, direction in known.items():
        if len(direction.mean) != dimensions:
            raise InputError(
                f"the statistics of DDT of group {group} have {len(direction.mean)} numbers, and features "
                f"{dimensions}; delete the folder ddt, and the same command computes them again"
            )


def _project(features: jax.Array, directions: Sequence[Direction]) -> jax.Array:
    return project(features, np.stack([d.mean for d in directions]), np.stack([d.direction for d in directions]))
