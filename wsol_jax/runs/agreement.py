"""The agreement of the processes of a run: one configuration, one program and the same photos."""

import hashlib
import json
from pathlib import Path

import jax
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from wsol_jax import processes
from wsol_jax.data.records import Dataset, digest


def require_same_run(config: ConfigDict) -> None:
    """Raise InputError if this process has another configuration or program than the first one.

    Args:
        config: of the run.
    """
    if processes.count() == 1:
        return
    processes.require_equal("programs", {"wsol_jax": _digest_of_code(), "jax": jax.__version__})
    keys = flatten_dict(json.loads(config.to_json()), sep=".")
    processes.require_equal("configurations", {f"--config.{key}": value for key, value in keys.items()})


def require_same_photos(dataset: Dataset) -> None:
    """Raise InputError if this process reads other photos, labels or boxes than the first one."""
    if processes.count() > 1:
        digests = {f"the digest of {split}": digest(records) for split, records in dataset.splits.items()}
        processes.require_equal("--config.data.dir", digests)


def _digest_of_code() -> str:
    """A digest of every file of the package's code (sha256, the first 12 hex digits)."""
    root = Path(processes.__file__).parent
    total = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        total.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return total.hexdigest()[:12]
