"""The fingerprint of a stage: written when it starts, sealed when it is finished, compared before it is used."""

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.stages.workdir import identity_file

REPLACED = ""  # the fingerprint of results that a run replaces: no configuration has it


class Identity(NamedTuple):
    """Everything that the results of a stage depend on.

    Attributes:
        config: its part of the configuration, without the keys that cannot change its results.
        seed: of the run.
        inputs: the stages whose results it uses -> their fingerprints; and the files it reads -> their digests.
        records: split -> a digest of its records, wherever their folder is.
        fingerprint: of all these (sha256, hex), or `REPLACED`.
        finished: whether the stage is finished.
    """

    config: dict[str, Any]
    seed: int
    inputs: dict[str, str]
    records: dict[str, str]
    fingerprint: str
    finished: bool = False


def identify(
    config: ConfigDict,
    seed: int,
    inputs: dict[str, str],
    records: dict[str, str],
    without_effect: Collection[str] = (),
    neutral: Mapping[str, Any] = MappingProxyType({}),
) -> Identity:
    """Return the identity of a stage that is not finished.

    Args:
        config: its part of the configuration.
        seed: of the run.
        inputs: see `Identity`.
        records: see `Identity`.
        without_effect: the keys of its part that cannot change its results; GROUP.KEY is a key of a group.
        neutral: such a key -> the value at which it is left out.
    """
    effective = json.loads(config.to_json())
    for key in (*without_effect, *neutral):
        *groups, name = key.split(".")
        group = reduce(getitem, groups, effective)
        if key in without_effect or group.get(name) == neutral[key]:
            group.pop(name, None)
    parts = {"config": effective, "seed": seed, "inputs": inputs, "records": records}
    text = json.dumps(parts, sort_keys=True)
    return Identity(**parts, fingerprint=hashlib.sha256(text.encode()).hexdigest())


def digest_of(file: Path) -> str:
    """Return a digest (sha256, hex) of a file's content, or of the names, sizes and times of the files of a folder."""
    if file.is_dir():
        listed = [(path.as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(file.rglob("*"))]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def read(workdir: Path, stage: str) -> Identity | None:
    """Return the identity of a stage in `workdir`; None if it never started.

    Raises:
        InputError: its file is damaged.
    """
    file = identity_file(workdir, stage)
    if not file.exists():
        return None
    try:
        return Identity(**json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} is damaged, so that {stage} cannot be compared; use another workdir") from error


def write(workdir: Path, stage: str, identity: Identity) -> None:
    """Write the identity of a stage in `workdir`."""
    text = json.dumps(identity._asdict(), indent=2)
    write_atomically(identity_file(workdir, stage), lambda file: file.write(text.encode()))


def differences(key: str, old: Identity, new: Identity, known: Collection[str]) -> list[str]:
    """Return the differences between two identities of a stage, in words; for keys, with both values.

    Args:
        key: of the stage's part of the configuration.
        old: of the results.
        new: of the configuration.
        known: inputs whose own differences are listed already.
    """
    was, now = (flat({key: identity.config, "seed": identity.seed}) for identity in (old, new))
    listed = [f"{name} was {was.get(name)!r}, is {now.get(name)!r}" for name in _unequal(was, now)]
    splits = _unequal(old.records, new.records)
    listed += [f"the {split} photos are {_fate(split, old.records, new.records)}" for split in splits]
    inputs = [stage for stage in _unequal(old.inputs, new.inputs) if stage not in known]
    return listed + [f"its input {stage} is {_fate(stage, old.inputs, new.inputs)}" for stage in inputs]


def follows(old: Identity, new: Identity, redone: Collection[str]) -> bool:
    """Return whether two identities of a stage differ in nothing but inputs that are in `redone`."""
    same = all(getattr(old, part) == getattr(new, part) for part in ("config", "seed", "records"))
    return same and set(_unequal(old.inputs, new.inputs)) <= set(redone)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a configuration by their dotted names."""
    leaves = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return leaves


def _unequal(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted(was.keys() | now.keys()) if was.get(name) != now.get(name)]


def _fate(name: str, was: Mapping[str, str], now: Mapping[str, str]) -> str:
    return "gone" if name not in now else "new" if name not in was else "not the same"
