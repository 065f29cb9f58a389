"""Whether a state dict is that of a network: whose names it uses, and what differs."""

from collections.abc import Callable, Collection, Mapping

import jax.numpy as jnp
import numpy as np

from wsol_jax.backbones.network import Architecture
from wsol_jax.errors import InputError

State = dict[str, np.ndarray]


def in_our_naming(
    where: str, state: State, spec: Architecture, wanted: Collection[str]
) -> tuple[State, str, frozenset[str]]:
    """A state dict under our names, by the naming that fits most of them.

    Args:
        where: the file, for the error.
        state: {name: array}, of a file.
        spec: knows the namings.
        wanted: the names of the network.

    Returns:
        The entries under our names, those unknown to the naming under their own; the naming, '' where it is ours; and
        the file's names of entries that are known to be of no use to the network.

    Raises:
        InputError: two entries have the same of our names.
    """

    def renamed(rename: Callable[[str], str | None]) -> dict[str, str | None]:
        return {name: rename(name) for name in state}

    namings = {"": renamed(lambda name: name)} | {naming: renamed(rename) for naming, rename in spec.rename.items()}
    best = max(namings, key=lambda naming: sum(ours in wanted for ours in namings[naming].values()))
    ours, useless = {}, set()
    for name, array in state.items():
        new = namings[best][name]
        if new is None:
            useless.add(name)
        elif new in ours:
            raise InputError(f"{where}: has {new} twice, once as {name}")
        else:
            ours[new] = array
    return ours, best, frozenset(useless)


def in_our_shapes(state: State, wanted: Mapping[str, np.ndarray]) -> State:
    """A state dict whose fully connected layers have the network's shapes: linear, or convolutions of the whole map.

    Both are published; [out, in h w] and [out, in, h, w] hold the same numbers in the same order.
    """

    def reshaped(array: np.ndarray, like: np.ndarray) -> np.ndarray:
        is_same = {array.ndim, like.ndim} == {2, 4} and (array.shape[0], array.size) == (like.shape[0], like.size)
        return array.reshape(like.shape) if is_same else array

    return {name: reshaped(array, wanted.get(name, array)) for name, array in state.items()}


def check(where: str, given: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    """Raises one InputError that lists what is missing, unexpected, misshapen or no floating-point number."""
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
    found = [
        f"{len(names)} {kind} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
        for kind, names in wrong.items()
        if names
    ]
    if found:
        raise InputError(f"{where}: {'; '.join(found)}")


def is_float(array: np.ndarray) -> bool:
    """Whether it holds floating-point numbers; numpy itself does not count bfloat16 among them."""
    return jnp.issubdtype(array.dtype, jnp.floating)


def layer_of(name: str) -> str:
    """What a state-dict name says without its last part: 'layer1.0.bn1.bias' is of 'layer1.0.bn1'."""
    return name.rpartition(".")[0]


def layers_of(names: Collection[str]) -> str:
    """The layers of some entries, for people."""
    return ", ".join(sorted({layer_of(name) for name in names}))
