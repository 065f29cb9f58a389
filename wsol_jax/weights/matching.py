"""Matching of a state dict with a network: its naming, its shapes, and all differences."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from wsol_jax.backbones.architecture import Architecture
from wsol_jax.errors import InputError

State = dict[str, np.ndarray]


class Naming(NamedTuple):
    """How the names of a file became ours.

    Attributes:
        foreign: the naming, see `Architecture.rename`; '' where it is ours.
        prefix: that was taken from the names, '' for none.
    """

    foreign: str
    prefix: str


def in_our_naming(
    where: str, state: State, spec: Architecture, wanted: Collection[str]
) -> tuple[State, Naming, frozenset[str]]:
    """Return a state dict under our names, by the naming and the prefix that fit most of them.

    Training scripts put a network into others, so that its names have a prefix, 'module.encoder_q.'; entries without it
    belong to those others, unless the network has their names. Of prefixes that fit alike, the first in the file.

    Args:
        where: the file, for the error.
        state: {name: array}, of a file.
        spec: the architecture, with its foreign namings.
        wanted: the names of the network.

    Returns:
        The entries under our names, those unknown to the naming under their own; the naming; and the file's names of
        entries that the network does not use.

    Raises:
        InputError: two entries have the same name of ours.
    """
    renames: dict[str, Callable[[str], str | None]] = {"": lambda name: name} | dict(spec.rename)
    fits = Counter(
        (prefix, foreign)
        for name in state
        for prefix in _prefixes(name)
        for foreign, rename in renames.items()
        if rename(name.removeprefix(prefix)) in wanted
    )
    # the first of equals; no prefix and our own names before all
    prefix, foreign = max([("", ""), *fits], key=lambda choice: fits[choice])
    ours, unused = {}, set()
    for name, array in state.items():
        new = renames[foreign](name.removeprefix(prefix))
        if new is None or (not name.startswith(prefix) and new not in wanted):
            unused.add(name)
        elif new in ours:
            raise InputError(f"{where}: has {new} twice, once as {name}")
        else:
            ours[new] = array
    return ours, Naming(foreign, prefix), frozenset(unused)


def _prefixes(name: str) -> list[str]:
    """'', 'module.', 'module.encoder_q.', ... of a name, four parts at most."""
    parts = name.split(".")[:-1]
    return ["".join(f"{part}." for part in parts[:count]) for count in range(min(len(parts), 4) + 1)]


def in_our_shapes(state: State, wanted: Mapping[str, np.ndarray]) -> State:
    """Return a state dict with the network's shapes, where the same numbers are published in two shapes.

    Fully connected layers are linear, [out, in h w], or convolutions of the whole map, [out, in, h, w]; the factors of
    channels (ConvNeXt's layer scale) are [d] or [d, 1, 1]. The numbers are in the same order.

    Args:
        state: {name: array}, under our names.
        wanted: {name: array of the network's shape}.
    """

    def reshaped(array: np.ndarray, like: np.ndarray) -> np.ndarray:
        is_same = {array.ndim, like.ndim} in ({2, 4}, {1, 3}) and array.shape[:1] == like.shape[:1]
        return array.reshape(like.shape) if is_same and array.size == like.size else array

    return {name: reshaped(array, wanted.get(name, array)) for name, array in state.items()}


def check(where: str, given: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    """Raise InputError unless a state dict has exactly the names, shapes and kinds of numbers of a network.

    Args:
        where: the file, for the error.
        given: {name: array}, under our names.
        wanted: {name: array of the network's shape and type}.

    Raises:
        InputError: names are missing, unexpected, misshapen or not floating-point; one line lists all of them.
    """
    common = [name for name in given if name in wanted]
    wrong = {
        "missing": [name for name in wanted if name not in given],
        "unexpected": [name for name in given if name not in wanted],
        "misshapen": [
            f"{name} {given[name].shape} instead of {wanted[name].shape}"
            for name in common
            if given[name].shape != wanted[name].shape
        ],
        "not floating-point": [name for name in common if is_float(wanted[name]) and not is_float(given[name])],
    }
    differences = [
        f"{len(names)} {kind} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
        for kind, names in wrong.items()
        if names
    ]
    if differences:
        raise InputError(f"{where}: {'; '.join(differences)}")


def to_float32(where: str, given: Mapping[str, np.ndarray]) -> State:
    """Return the numbers of a network in the type that it computes in.

    Args:
        where: the file, for the error.
        given: {name: array}, of any floating-point type.

    Raises:
        InputError: one is NaN or infinite, or too large for float32.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        values = {name: np.asarray(array).astype(np.float32) for name, array in given.items()}
    bad = {name: int((~np.isfinite(value)).sum()) for name, value in values.items() if not np.isfinite(value).all()}
    if bad:
        name = next(iter(bad))
        raise InputError(
            f"{where}: {sum(bad.values())} numbers are NaN, infinite or beyond float32, the first in {name}; expected "
            "the weights of a network that was trained"
        )
    return values


def is_float(array: np.ndarray) -> bool:
    """Return whether an array holds floating-point numbers; numpy itself does not count bfloat16 among them."""
    return jnp.issubdtype(array.dtype, jnp.floating)


def layer_of(name: str) -> str:
    """Return the layer of a state-dict name: 'layer1.0.bn1' of 'layer1.0.bn1.bias'."""
    return name.rpartition(".")[0]


def layers_of(names: Collection[str]) -> str:
    """Return the layers of some entries, sorted, in one line for people, of which no more than 20 are named."""
    layers = sorted({layer_of(name) or name for name in names})
    return ", ".join(layers[:20]) + (", ..." if len(layers) > 20 else "")
