"""The one rule between our variables and a torch state dict, both ways.

The name is the path, joined by dots, without the collection and the network's parts ('backbone', 'auxiliary', 'head');
kernel and scale are 'weight', mean and var are 'running_mean' and 'running_var'. Convolutions are HWIO here and OIHW
there, linear layers [in, out] here and [out, in] there. All other leaves keep their names and shapes.
"""

from collections.abc import Mapping
from itertools import takewhile

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

Path = tuple[str, ...]

_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_PARTS = ("backbone", "neck", "head", "box", "auxiliary", "domain")
_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}
_FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0)}


def parts_of(path: Path) -> tuple[str, ...]:
    """Return the parts of the network that hold a leaf, outermost first: ("backbone",), ("auxiliary", "head"), ..."""
    return tuple(takewhile(_PARTS.__contains__, path[1:]))


def name_of(path: Path) -> str:
    """Return the state-dict name of a leaf at (collection, ..., leaf).

    Example:
        >>> name_of(("batch_stats", "backbone", "layer1.0", "bn1", "mean"))
        'layer1.0.bn1.running_mean'
    """
    steps = path[1 + len(parts_of(path)) :]
    return ".".join((*steps[:-1], _LEAVES.get(steps[-1], steps[-1])))


def to_torch(leaf: str, array: np.ndarray) -> np.ndarray:
    """Return a leaf in torch's layout; only kernels differ."""
    return array.transpose(_TO_TORCH[array.ndim]) if leaf == "kernel" else array


def from_torch(leaf: str, array: np.ndarray) -> np.ndarray:
    """Return a leaf in our layout: the inverse of `to_torch`."""
    return array.transpose(_FROM_TORCH[array.ndim]) if leaf == "kernel" else array


def to_state_dict(variables: Mapping) -> dict[str, np.ndarray]:
    """Return variables, {'params': ..., 'batch_stats': ...}, as {torch name: array in torch's layout}."""
    flat = flatten_dict(dict(variables))
    return {name_of(path): to_torch(path[-1], np.asarray(value)) for path, value in flat.items()}


def from_state_dict(state: Mapping[str, np.ndarray], template: Mapping) -> dict:
    """Return variables with the values of a state dict: the inverse of `to_state_dict`.

    Args:
        state: has every name of the template, in its shape; `pretrained.load_weights` checks that.
        template: a tree of variables, whose own values are not used.
    """
    empty = {collection: {} for collection in template}
    paths = flatten_dict(dict(template))
    return empty | unflatten_dict({path: from_torch(path[-1], state[name_of(path)]) for path in paths})
