"""Networks that start from published weights, and weights for other programs.

Every name is accounted for, or nothing is loaded.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import flax.linen as nn
from flax.traverse_util import flatten_dict

from wsol_jax.backbones import names
from wsol_jax.backbones.architecture import Architecture
from wsol_jax.backbones.network import BACKBONES, Network
from wsol_jax.errors import InputError
from wsol_jax.weights.matching import check, in_our_naming, in_our_shapes, layer_of, layers_of, to_float32
from wsol_jax.weights.weight_files import read_weights, write_weights


def load_weights(module: nn.Module, variables: Mapping, source: str, arch: str, new_head: bool) -> tuple[dict, str]:
    """Return variables with the values of a weight file.

    Layers that published weights lack, such as the box branch of a -Joint network, another neck or the layers that a
    variant adds, keep their values unless the file has them, as a file of ours may. So does a whole auxiliary head,
    which only training uses and many files leave out. Layers that the module lacks are
    left out: a trunk has neither neck nor head, and a variant may omit some.

    Args:
        module: a `Network`, a trunk, or a trunk with another head: a module with `backbone` and `head`.
        variables: its {'params', 'batch_stats'}, as `initialise` returns them; only new layers keep their values.
        source: see `weight_files.read_weights`.
        arch: a name in `BACKBONES`.
        new_head: whether the last layers keep their values, and those of the file are left out.

    Returns:
        The variables, float32 numpy leaves; and one line for people: the origin and number of the entries, the layers
        that were left out, the layers that are new.

    Raises:
        InputError: the file cannot be read, or its names and shapes are not exactly those of the network; one line
            lists all differences.
    """
    spec = BACKBONES[arch]
    state, origin = read_weights(source)
    mine = names.to_state_dict(variables)
    state, naming, unused = in_our_naming(source, state, spec, mine)
    origin += f", without the prefix {naming.prefix!r}" if naming.prefix else ""
    unneeded = tuple(f"{layer}." for layer in _unneeded_layers(module, spec, new_head))
    left_out = {name for name in state if name.startswith(unneeded)}
    given = in_our_shapes({name: array for name, array in state.items() if name not in left_out}, mine)
    new = _new_names(module, spec, variables, new_head, given)
    check(f"{source} for {arch}", given, {name: array for name, array in mine.items() if name not in new})
    values = to_float32(source, given)
    loaded = names.from_state_dict(mine | values, variables)
    return loaded, _message(arch, origin, len(given), left_out | unused, new)


def count_classes(source: str, arch: str) -> int:
    """Return the number of classes of the last layer of a weight file.

    Args:
        source: see `weight_files.read_weights`.
        arch: a name in `BACKBONES`.

    Raises:
        InputError: there is no such architecture; the file cannot be read, or has no last layer of classes.
    """
    if arch not in BACKBONES:
        raise InputError(f"arch={arch!r} is no backbone; expected one of {', '.join(BACKBONES)}")
    if not source:
        raise InputError("weights is ''; expected FILE.safetensors, FILE.npz, FILE.pth or pip:DISTRIBUTION")
    spec, (state, _) = BACKBONES[arch], read_weights(source)
    state, _, _ = in_our_naming(source, state, spec, [f"{spec.classifier}.weight"])
    if f"{spec.classifier}.weight" not in state:
        raise InputError(f"{source} has no layer {spec.classifier}; expected the weights of a {arch} with its classes")
    return state[f"{spec.classifier}.weight"].shape[0]


def save_weights(variables: Mapping, path: Path) -> None:
    """Write variables to a .safetensors file with torchvision's or timm's names, in torch's layout.

    Every leaf keeps its type; `load_weights` reads the same bits.

    Args:
        variables: {'params', 'batch_stats'}.
        path: the file.

    Raises:
        InputError: a leaf has a type that safetensors lacks.
        OSError: the file cannot be written, or reads back with other bits.
    """
    write_weights(names.to_state_dict(variables), path)


def _new_names(
    module: nn.Module, spec: Architecture, variables: Mapping, new_head: bool, given: Collection[str]
) -> frozenset[str]:
    """The state-dict names of the leaves that do not come from the file."""
    backbone = getattr(module, "backbone", module)
    added, published_neck = backbone.added, spec.neck(backbone).layers
    published = {layer_of(name) for name in given}
    auxiliary = f"{spec.auxiliary.layers}." if spec.auxiliary else None
    has_auxiliary = auxiliary is None or any(name.startswith(auxiliary) for name in given)

    def is_new(path: tuple[str, ...]) -> bool:
        parts = names.parts_of(path)
        if new_head and not {"head", "box"}.isdisjoint(parts):
            return True
        if not has_auxiliary and names.name_of(path).startswith(auxiliary):
            return True
        own_neck = "neck" in parts and path[1 + len(parts)] not in published_neck
        optional = own_neck or not {"box", "domain"}.isdisjoint(parts) or path[1 + len(parts)] in added
        return optional and layer_of(names.name_of(path)) not in published

    return frozenset(names.name_of(path) for path in flatten_dict(dict(variables)) if is_new(path))


def _unneeded_layers(module: nn.Module, spec: Architecture, new_head: bool) -> list[str]:
    """The prefixes of the layers of the file that the module does not take."""
    backbone, whole = getattr(module, "backbone", module), isinstance(module, Network)
    layers = list(backbone.omitted)
    layers += set(spec.neck(backbone).layers) - set(module.neck.layers if whole else ())
    if spec.auxiliary and (not whole or module.auxiliary is None):
        layers += [spec.auxiliary.layers]
    if new_head or not whole:
        layers += [spec.classifier]
        layers += [spec.auxiliary.classifier] if spec.auxiliary else []
    if new_head or not whole or module.box is None:
        layers += ["box"]
    return layers


def _message(arch: str, origin: str, count: int, left_out: Collection[str], new: Collection[str]) -> str:
    message = f"{arch} starts from {count} entries of {origin}"
    if left_out:
        message += f"; {len(left_out)} left out ({layers_of(left_out)})"
    return f"{message}; new: {layers_of(new)}" if new else message
