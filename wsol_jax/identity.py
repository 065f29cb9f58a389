"""What a stage is made from: written down when it starts, sealed when it is finished, compared before it is used."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically


class Identity(NamedTuple):
    """What a stage is made from.

    Attributes:
        config: its part of the configuration.
        seed: of the run.
        inputs: the stages whose results it uses -> their fingerprints; and the files of others -> their digests.
        records: split -> a digest of its records, wherever their folder is.
        fingerprint: of all these (sha256, hex).
        finished: whether it is done.
    """

    config: dict[str, Any]
    seed: int
    inputs: dict[str, str]
    records: dict[str, str]
    fingerprint: str
    finished: bool = False


def identify(config: ConfigDict, seed: int, inputs: dict[str, str], records: dict[str, str]) -> Identity:
    """The identity of a stage that is not finished."""
    made_from = {"config": json.loads(config.to_json()), "seed": seed, "inputs": inputs, "records": records}
    text = json.dumps(made_from, sort_keys=True)
    return Identity(**made_from, fingerprint=hashlib.sha256(text.encode()).hexdigest())


def digest_of(file: Path) -> str:
    """A digest (sha256, hex) of a file's content, or of the names, sizes and times of the files below a folder."""
    if file.is_dir():
        found = [(path.as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(file.rglob("*"))]
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def read(workdir: Path, stage: str) -> Identity | None:
    """What the stage in `workdir` was made from; None if it never started.

    Raises:
        InputError: the file that says so is damaged.
    """
    file = file_of(workdir, stage)
    if not file.exists():
        return None
    try:
        return Identity(**json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{file} is damaged, so nobody knows what {stage} was made from; use another workdir"
        ) from error


def write(workdir: Path, stage: str, identity: Identity) -> None:
    """Writes down what the stage in `workdir` is made from."""
    text = json.dumps(identity._asdict(), indent=2)
    write_atomically(file_of(workdir, stage), lambda file: file.write(text.encode()))


def file_of(workdir: Path, stage: str) -> Path:
    """Where it is written what a stage was made from."""
    return workdir / "stages" / f"{stage}.json"


def differences(key: str, old: Identity, new: Identity, known: Collection[str]) -> list[str]:
    """What two identities of a stage do not share, in words; for keys, with both values.

    Args:
        key: of the stage's part of the configuration.
        old: as it was.
        new: as it is asked for.
        known: inputs whose own differences are told already.
    """
    was, now = (_flat({key: identity.config, "seed": identity.seed}) for identity in (old, new))
    told = [f"{name} was {was.get(name)!r}, is {now.get(name)!r}" for name in _unequal(was, now)]
    splits = _unequal(old.records, new.records)
    told += [f"the {split} photos are {_fate(split, old.records, new.records)}" for split in splits]
    inputs = [stage for stage in _unequal(old.inputs, new.inputs) if stage not in known]
    return told + [f"its input {stage} is {_fate(stage, old.inputs, new.inputs)}" for stage in inputs]


def _unequal(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted(was.keys() | now.keys()) if was.get(name) != now.get(name)]


def _fate(name: str, was: Mapping[str, str], now: Mapping[str, str]) -> str:
    return "gone" if name not in now else "new" if name not in was else "not the same"


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves = {}
    for name, value in tree.items():
        leaves |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return leaves
