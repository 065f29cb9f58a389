"""The agreement of the processes of a run: one program, one configuration, one workdir and the same photos."""

import hashlib
import json
from pathlib import Path

import jax
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from wsol_jax import processes
from wsol_jax.data.records import Dataset, digest
from wsol_jax.errors import InputError
from wsol_jax.stages.workdir import lock_file


def require_same_program() -> None:
    """Raise InputError if this process has another program than the first one, or another version of JAX."""
    if processes.count() > 1:
        processes.require_equal("programs", {"wsol_jax": _digest_of_code(), "jax": jax.__version__})


def require_same_configuration(config: ConfigDict) -> None:
    """Raise InputError if this process has another configuration than the first one.

    Args:
        config: of the run.
    """
    if processes.count() > 1:
        keys = flatten_dict(json.loads(config.to_json()), sep=".")
        processes.require_equal("configurations", {f"--config.{key}": value for key, value in keys.items()})


def require_same_workdir(workdir: Path) -> None:
    """Raise InputError unless this process sees the lock that the first one has taken in the workdir.

    Args:
        workdir: that the first process holds.
    """
    if processes.count() == 1:
        return
    file = lock_file(workdir)
    expected = processes.from_first(file.read_text)
    if not file.exists() or file.read_text() != expected:
        raise InputError(
            f"--workdir={workdir}: process {processes.number()} does not see the lock that process 0 took there; "
            "expected one folder that all hosts share"
        )


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
