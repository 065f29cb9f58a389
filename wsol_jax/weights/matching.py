"""Matching of a state dict with a network: its naming, its shapes, and all differences."""

from collections.abc import Callable, Collection, Mapping

import jax.numpy as jnp
import numpy as np

from wsol_jax.backbones.architecture import Architecture
from wsol_jax.errors import InputError

State = dict[str, np.ndarray]


def in_our_naming(
    where: str, state: State, spec: Architecture, wanted: Collection[str]
) -> tuple[State, str, frozenset[str]]:
    """Return a state dict under our names, by the naming that fits most of them.

    Args:
        where: the file, for the error.
        state: {name: array}, of a file.
        spec: the architecture, with its foreign namings.
        wanted: the names of the network.

    Returns:
        The entries under our names, those unknown to the naming under their own; the naming, '' where it is ours; and
        the file's names of entries that the network does not use.

    Raises:
        InputError: two entries have the same name of ours.
    """

    def renamed(rename: Callable[[str], str | None]) -> dict[str, str | None]:
        return {name: rename(name) for name in state}

    namings = {"": renamed(lambda name: name)} | {naming: renamed(rename) for naming, rename in spec.rename.items()}
    best = max(namings, key=lambda naming: sum(ours in wanted for ours in namings[naming].values()))
    ours, unused = {}, set()
    for name, array in state.items():
        new = namings[best][name]
        if new is None:
            unused.add(name)
        elif new in ours:
            raise InputError(f"{where}: has {new} twice, once as {name}")
        else:
            ours[new] = array
    return ours, best, frozenset(unused)


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


def is_float(array: np.ndarray) -> bool:
    """Return whether an array holds floating-point numbers; numpy itself does not count bfloat16 among them."""
    return jnp.issubdtype(array.dtype, jnp.floating)


def layer_of(name: str) -> str:
    """Return the layer of a state-dict name: 'layer1.0.bn1' of 'layer1.0.bn1.bias'."""
    return name.rpartition(".")[0]


def layers_of(names: Collection[str]) -> str:
    """Return the layers of some entries, sorted, in one line for people."""
    return ", ".join(sorted({layer_of(name) for name in names}))
