"""The one rule between our variables and a torch state dict, both ways.

The name is the path, joined by dots, without the collection and the network's parts ('backbone', 'auxiliary', 'head');
kernel and scale are 'weight', mean and var are 'running_mean' and 'running_var'. Convolutions are HWIO here and OIHW
there, linear layers [in, out] here and [out, in] there.
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
    """The parts of the network that a leaf is in, outermost first: ("backbone",), ("auxiliary", "head"), ..."""
    return tuple(takewhile(_PARTS.__contains__, path[1:]))


def name_of(path: Path) -> str:
    """The state-dict name of a leaf at (collection, ..., leaf)."""
    steps = path[1 + len(parts_of(path)) :]
    return ".".join((*steps[:-1], _LEAVES.get(steps[-1], steps[-1])))


def to_torch(leaf: str, array: np.ndarray) -> np.ndarray:
    """A leaf in torch's layout; only kernels differ."""
    return array.transpose(_TO_TORCH[array.ndim]) if leaf == "kernel" else array


def from_torch(leaf: str, array: np.ndarray) -> np.ndarray:
    """The inverse of `to_torch`."""
    return array.transpose(_FROM_TORCH[array.ndim]) if leaf == "kernel" else array


def to_state_dict(variables: Mapping) -> dict[str, np.ndarray]:
    """Variables {'params': ..., 'batch_stats': ...} as {torch name: array in torch's layout}."""
    flat = flatten_dict(dict(variables))
    return {name_of(path): to_torch(path[-1], np.asarray(value)) for path, value in flat.items()}


def from_state_dict(state: Mapping[str, np.ndarray], template: Mapping) -> dict:
    """The inverse of `to_state_dict`: the values of `state`, in the tree of `template` (whose own values are not used).

    Every name of the template must be in `state`, in the right shape; `pretrained.load_weights` checks that.
    """
    empty = {collection: {} for collection in template}
    paths = flatten_dict(dict(template))
    return empty | unflatten_dict({path: from_torch(path[-1], state[name_of(path)]) for path in paths})
