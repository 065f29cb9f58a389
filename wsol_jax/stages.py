"""The order of the stages, what each is given, and which are already done.

A stage receives its own part of the configuration and the results of the stages it names, nothing else. What it is made
from is written down when it starts and sealed when it is finished; a finished stage is skipped, one that was cut off
goes on, and one made from something else stops the run.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import psol, results
from wsol_jax.context import Context
from wsol_jax.data import load_dataset
from wsol_jax.data.check import check_photos
from wsol_jax.data.records import Dataset, digest
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.training import devices


class Stage(NamedTuple):
    """One step of a run.

    Attributes:
        key: its part of the configuration.
        inputs: the stages whose results it uses, where there are any.
        outputs: what it writes, relative to the workdir.
        run: does it.
    """

    key: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Callable[[ConfigDict, Context], None]


STAGES: dict[str, Stage] = {
    "pseudo_boxes": Stage("pseudo", (), ("pseudo_boxes",), psol.pseudo_boxes),
    "localizer": Stage("localizer", ("pseudo_boxes",), ("localizer",), psol.train_localizer),
    "classifier": Stage("classifier", (), ("classifier",), psol.train_classifier),
    "predict": Stage("predict", ("localizer", "classifier"), ("predictions",), psol.predict),
    "evaluate": Stage("evaluate", ("pseudo_boxes", "predict"), ("metrics.json",), results.evaluate),
    "report": Stage(
        "report", ("pseudo_boxes", "localizer", "classifier", "predict", "evaluate"), ("report",), results.report
    ),
}


def run(config: ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Runs the stages of `config.stages` that are not finished in `workdir`.

    Args:
        config: as a file of configs/ returns it.
        workdir: where everything is written; made if it is not there.

    Returns:
        The contents of metrics.json, {} before there is one.

    Raises:
        InputError: whatever is wrong with the configuration, the data, the weights or the workdir, in one line.
    """
    workdir = Path(workdir)
    names = _chosen(config.stages)
    dataset = load_dataset(config.data, config.seed)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"workdir {workdir} cannot be made: {error.strerror}") from error
    dataset, _ = check_photos(
        dataset, list(dataset.splits), config.data.on_error, workdir / "photos.json", logging.warning
    )
    _log_dataset(dataset)

    identities = _identities(config, dataset, workdir, names)
    to_do = [name for name in names if not _is_finished(workdir, name, identities[name], config.overwrite)]
    write_atomically(workdir / "config.json", lambda file: file.write(config.to_json(indent=2).encode()))
    mesh = devices.make_mesh()
    for name in names:
        if name not in to_do:
            logging.info("%s: already finished", name)
            continue
        logging.info("%s: started", name)
        _write_identity(workdir, name, identities[name], finished=False)
        configs = {n: ConfigDict(_read_identity(workdir, n)["config"]) for n in _inputs(workdir, names, name)}
        STAGES[name].run(config[STAGES[name].key], Context(workdir, dataset, config.seed, mesh, configs))
        _write_identity(workdir, name, identities[name], finished=True)
    metrics = workdir / "metrics.json"
    return json.loads(metrics.read_text()) if metrics.exists() else {}


def _chosen(stages: str) -> list[str]:
    names = [name.strip() for name in stages.split(",") if name.strip()]
    for name in names:
        if name not in STAGES:
            raise InputError(f"stages: {name!r} is no stage; there are {', '.join(STAGES)}")
    if not names:
        raise InputError(f"stages is empty; there are {', '.join(STAGES)}")
    return [name for name in STAGES if name in names]


def _log_dataset(dataset: Dataset) -> None:
    counts = ", ".join(f"{len(records)} {split}" for split, records in dataset.splits.items())
    logging.info("%d classes; photos: %s; %d device(s)", len(dataset.classes), counts, jax.device_count())


def _inputs(workdir: Path, chosen: list[str], name: str) -> list[str]:
    """The inputs of a stage that this run makes or the workdir already has."""
    return [n for n in STAGES[name].inputs if n in chosen or _read_identity(workdir, n).get("finished")]


def _identities(config: ConfigDict, dataset: Dataset, workdir: Path, chosen: list[str]) -> dict[str, dict[str, Any]]:
    """What each stage of the run, and of the workdir, is made from: its configuration, its inputs, the records."""
    records = {split: digest(records) for split, records in dataset.splits.items()}
    identities: dict[str, dict[str, Any]] = {}
    for name, stage in STAGES.items():
        inputs = {n: identities[n]["fingerprint"] for n in _inputs(workdir, chosen, name)}
        own = json.loads(config[stage.key].to_json())
        made_from = {"config": own, "seed": config.seed, "inputs": inputs, "records": records}
        text = json.dumps(made_from, sort_keys=True)
        identities[name] = made_from | {"fingerprint": hashlib.sha256(text.encode()).hexdigest()}
    return identities


def _is_finished(workdir: Path, name: str, identity: dict[str, Any], overwrite: bool) -> bool:
    """Whether a stage is done as asked; with `overwrite`, what was made from something else is taken away.

    Raises:
        InputError: what is there was made from something else: the keys that differ are told.
    """
    saved = _read_identity(workdir, name)
    if not saved:
        return False
    if saved["fingerprint"] == identity["fingerprint"]:
        return saved["finished"]
    if not overwrite:
        differences = "; ".join(_differences(STAGES[name].key, saved, identity))
        raise InputError(
            f"workdir {workdir}: stage {name} was made from something else: {differences}; "
            "--config.overwrite=True redoes it, another --workdir keeps it"
        )
    logging.info("%s: redone, its configuration has changed", name)
    _identity_file(workdir, name).unlink()
    for output in STAGES[name].outputs:
        path = workdir / output
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return False


def _differences(key: str, saved: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """'KEY was A, is B' for what two identities do not share."""
    old = _flat({key: saved["config"], "seed": saved["seed"], "photos": saved["records"], "input": saved["inputs"]})
    new = _flat({key: wanted["config"], "seed": wanted["seed"], "photos": wanted["records"], "input": wanted["inputs"]})
    return [
        f"{name} has changed"
        if name.startswith(("photos.", "input."))
        else f"{name} was {old.get(name)!r}, is {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves = {}
    for name, value in tree.items():
        leaves |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return leaves


def _identity_file(workdir: Path, name: str) -> Path:
    return workdir / "stages" / f"{name}.json"


def _read_identity(workdir: Path, name: str) -> dict[str, Any]:
    file = _identity_file(workdir, name)
    return json.loads(file.read_text()) if file.exists() else {}


def _write_identity(workdir: Path, name: str, identity: dict[str, Any], finished: bool) -> None:
    text = json.dumps(identity | {"finished": finished}, indent=2)
    write_atomically(_identity_file(workdir, name), lambda file: file.write(text.encode()))
