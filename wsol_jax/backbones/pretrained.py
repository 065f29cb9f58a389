"""Starting a network from weights somebody trained: every name is accounted for, or nothing is loaded."""

from collections.abc import Callable, Mapping

import numpy as np
from flax.traverse_util import flatten_dict

from wsol_jax.backbones import names
from wsol_jax.backbones.network import BACKBONES, Architecture
from wsol_jax.backbones.weight_files import read_weights
from wsol_jax.errors import InputError


def load_weights(variables: Mapping, source: str, arch: str, new_head: bool) -> tuple[dict, str]:
    """Variables with the values of a weight file.

    The variables are a network's, {'params': {'backbone': ..., 'neck': ..., 'head': ...}, ...}, or a trunk's, which
    have no such first level; a trunk needs nothing of the neck and the head, and leaves what the file has of them.
    Anything of a network that is neither in 'backbone' nor in 'neck' counts as head.

    Args:
        variables: {'params', 'batch_stats'}, as `initialise` gives them; their values matter only for a new head.
        source: see `weight_files.read_weights`.
        arch: a name in `BACKBONES`.
        new_head: the head keeps its values, and the last layer of the file is left out.

    Returns:
        The variables, float32 numpy leaves; and one line for people: from where, how many, what was left out.

    Raises:
        InputError: the file cannot be read, or its names and shapes are not exactly those of the network; all of them
            are named together.
    """
    spec = BACKBONES[arch]
    state, origin = read_weights(source)
    mine = names.to_state_dict(variables)
    kept = _head_names(variables) if new_head else frozenset()
    wanted = {name: array for name, array in mine.items() if name not in kept}
    state, dropped = _in_our_naming(state, spec, wanted)
    unneeded = _unneeded(variables, spec, new_head)
    left_out = {name for name in state if unneeded(name)}
    given = {name: array for name, array in state.items() if name not in left_out}
    _check(f"{source} for {arch}", given, wanted)
    values = {name: array.astype(np.float32) for name, array in given.items()}
    loaded = names.from_state_dict(mine | values, variables)
    return loaded, _message(arch, origin, len(given), sorted(left_out | dropped), len(kept))


def _is_trunk(variables: Mapping) -> bool:
    return "backbone" not in variables["params"]


def _head_names(variables: Mapping) -> frozenset[str]:
    """The state-dict names of a network's head; a trunk has none."""
    if _is_trunk(variables):
        return frozenset()
    flat = flatten_dict(dict(variables))
    return frozenset(names.name_of(path) for path in flat if path[1] not in ("backbone", "neck"))


def _unneeded(variables: Mapping, spec: Architecture, new_head: bool) -> Callable[[str], bool]:
    """Whether an entry of the file belongs to a layer that is not wanted from it."""
    neck = spec.neck("float32").layers if _is_trunk(variables) else ()
    head = (spec.classifier,) if new_head or _is_trunk(variables) else ()
    return lambda name: name.startswith(tuple(f"{layer}." for layer in (*neck, *head)))


def _in_our_naming(
    state: dict[str, np.ndarray], spec: Architecture, wanted: Mapping
) -> tuple[dict[str, np.ndarray], set[str]]:
    """The file's entries under our names, by the naming that fits most of them; and those known to be of no use."""

    def renamed(rename: Callable[[str], str | None]) -> dict[str, str | None]:
        return {name: rename(name) for name in state}

    namings = [renamed(rename) for rename in (lambda name: name, *spec.rename.values())]
    best = max(namings, key=lambda naming: sum(ours in wanted for ours in naming.values()))
    ours = {best[name]: array for name, array in state.items() if best[name] is not None}
    return ours, {name for name in state if best[name] is None}


def _check(where: str, given: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    """Raises one error that lists what is missing, unexpected and misshapen."""
    common = [name for name in given if name in wanted]
    wrong = {
        "missing": [name for name in wanted if name not in given],
        "unexpected": [name for name in given if name not in wanted],
        "misshapen": [
            f"{name} {given[name].shape} instead of {wanted[name].shape}"
            for name in common
            if given[name].shape != wanted[name].shape
        ],
        "not floating-point": [name for name in common if given[name].dtype.kind != "f"],
    }
    found = [
        f"{len(names)} {kind} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
        for kind, names in wrong.items()
        if names
    ]
    if found:
        raise InputError(f"{where}: {'; '.join(found)}")


def _message(arch: str, origin: str, count: int, left_out: list[str], kept: int) -> str:
    message = f"{arch} starts from {count} entries of {origin}"
    if left_out:
        layers = sorted({name.rpartition(".")[0] for name in left_out})
        message += f"; {len(left_out)} left out ({', '.join(layers)})"
    if kept:
        message += "; the head is new"
    return message
