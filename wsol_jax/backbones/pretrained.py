"""Starting a network from weights somebody trained: every name is accounted for, or nothing is loaded."""

from collections.abc import Callable, Collection, Mapping

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict

from wsol_jax.backbones import names
from wsol_jax.backbones.network import BACKBONES, Architecture, Network
from wsol_jax.backbones.weight_files import read_weights
from wsol_jax.errors import InputError


def load_weights(module: nn.Module, variables: Mapping, source: str, arch: str, new_head: bool) -> tuple[dict, str]:
    """Variables with the values of a weight file.

    What a file cannot have keeps its values: the box branch of a -Joint network and the layers that a variant adds.
    What the module does not have is left out: a trunk has neither neck nor head, and a variant may be cut.

    Args:
        module: a `Network`, or a trunk.
        variables: its {'params', 'batch_stats'}, as `initialise` gives them; their values matter only for what is new.
        source: see `weight_files.read_weights`.
        arch: a name in `BACKBONES`.
        new_head: the last layers keep their values, and those of the file are left out.

    Returns:
        The variables, float32 numpy leaves; and one line for people: from where, how many, what was left out, what is
        new.

    Raises:
        InputError: the file cannot be read, or its names and shapes are not exactly those of the network; all of them
            are named together.
    """
    spec = BACKBONES[arch]
    state, origin = read_weights(source)
    mine = names.to_state_dict(variables)
    kept = _new_names(module, variables, new_head)
    wanted = {name: array for name, array in mine.items() if name not in kept}
    state, dropped = _in_our_naming(state, spec, wanted)
    unneeded = tuple(f"{layer}." for layer in _unneeded_layers(module, spec, new_head))
    left_out = {name for name in state if name.startswith(unneeded)}
    given = {name: array for name, array in state.items() if name not in left_out}
    _check(f"{source} for {arch}", given, wanted)
    values = {name: array.astype(np.float32) for name, array in given.items()}
    loaded = names.from_state_dict(mine | values, variables)
    return loaded, _message(arch, origin, len(given), left_out | dropped, kept)


def _new_names(module: nn.Module, variables: Mapping, new_head: bool) -> frozenset[str]:
    """The state-dict names of what does not come from a file."""
    added = module.backbone.added if isinstance(module, Network) else module.added

    def is_new(path: tuple[str, ...]) -> bool:
        parts = names.parts_of(path)
        layer = path[1 + len(parts)]
        return "box" in parts or (new_head and "head" in parts) or layer in added

    return frozenset(names.name_of(path) for path in flatten_dict(dict(variables)) if is_new(path))


def _unneeded_layers(module: nn.Module, spec: Architecture, new_head: bool) -> list[str]:
    """What the names of those layers of the file start with that are not wanted from it."""
    whole = isinstance(module, Network)
    layers = list(module.backbone.omitted if whole else module.omitted)
    if not whole:
        layers += spec.neck("float32").layers
        layers += [spec.auxiliary.layers] if spec.auxiliary else []
    if new_head or not whole:
        layers += [spec.classifier]
        layers += [spec.auxiliary.classifier] if spec.auxiliary else []
    return layers


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


def _message(arch: str, origin: str, count: int, left_out: Collection[str], new: Collection[str]) -> str:
    message = f"{arch} starts from {count} entries of {origin}"
    if left_out:
        message += f"; {len(left_out)} left out ({_layers(left_out)})"
    return f"{message}; new: {_layers(new)}" if new else message


def _layers(entries: Collection[str]) -> str:
    return ", ".join(sorted({name.rpartition(".")[0] for name in entries}))
