"""The run of an experiment: which stages are finished, which continue, and which results belong to another one.

A stage receives its own part of the configuration and the results of its inputs, nothing else. A finished stage is
skipped, one that was cut off continues, and results with another fingerprint stop the run.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks, devices, processes
from wsol_jax.compilation import keep_compiled
from wsol_jax.config import check_config
from wsol_jax.data import depth, load_dataset
from wsol_jax.data.check import check_photos
from wsol_jax.data.index import index_file
from wsol_jax.data.records import Dataset
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.paths import RemotePath, remove, to_path
from wsol_jax.runs.agreement import require_same_configuration, require_same_photos, require_same_workdir
from wsol_jax.runs.state import identities, is_finished, require_inputs, require_same
from wsol_jax.stages import identity
from wsol_jax.stages.context import Context
from wsol_jax.stages.corrections import with_empty_photos
from wsol_jax.stages.identity import Identity
from wsol_jax.stages.lock import locked
from wsol_jax.stages.map_runs import read_metrics
from wsol_jax.stages.table import STAGES
from wsol_jax.stages.workdir import (
    box_folders,
    classes_file,
    config_file,
    levels_file,
    photos_file,
    report_folder,
)


class Plan(NamedTuple):
    """A checked run, ready to be carried out.

    Attributes:
        config: of the run.
        workdir: of the run.
        dataset: the readable photos.
        contexts: of the chosen stages, in their order.
        identities: of all stages.
        to_do: the chosen stages that are not finished.
        extended: those of them that continue from the results of fewer epochs.
    """

    config: ConfigDict
    workdir: Path
    dataset: Dataset
    contexts: dict[str, Context]
    identities: dict[str, Identity]
    to_do: list[str]
    extended: list[str]


def run(config: ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Run the stages of `config.stages` that are not finished in `workdir`.

    Everything is checked before the first of them starts.

    Args:
        config: as a file of configs/ returns it.
        workdir: where all results are written; created if it does not exist.

    Returns:
        The contents of metrics.json, {} before there is one.

    Raises:
        InputError: the configuration, the data, the weights or the workdir is wrong, in one line.
    """
    check_config(config, jax.device_count())
    with held(to_path(workdir)):
        return carry_out(_plan(config, to_path(workdir)))


@contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Hold a workdir inside of the block, so that no other run writes there; it is created if it does not exist.

    Of several processes of one run the first one does.

    Raises:
        InputError: the folder cannot be created or written to, another run holds it, or this process sees another one
            than the first process.
    """
    if processes.is_first():
        _make(workdir)
    with locked(workdir) if processes.is_first() else nullcontext():
        require_same_workdir(workdir)
        yield


def plan(config: ConfigDict, workdir: Path, dataset: Dataset | None = None, is_dry: bool = False) -> Plan:
    """Check a run; only the workdir and the cache of readable photos are written.

    Args:
        config: as a file of configs/ returns it.
        workdir: as in `run`.
        dataset: of the plan of another run on the same photos, to be used without reading them again.
        is_dry: nothing is written, and photos that no run has checked yet are not decoded for it.

    Raises:
        InputError: as `run`.
    """
    check_config(config, jax.device_count())
    return _plan(config, workdir, dataset, is_dry)


def _plan(config: ConfigDict, workdir: Path, dataset: Dataset | None = None, is_dry: bool = False) -> Plan:
    """The plan of a checked configuration, see `plan`."""
    if not is_dry:
        keep_compiled(config.compilation_cache)
    require_same_configuration(config)
    chosen = _chosen(config.stages)
    with processes.first_goes_ahead():
        if not is_dry:
            _make(workdir)
        dataset = dataset or _readable_photos(config, workdir, chosen, is_dry)
    with checks.prefixed("--config.pseudo: "):
        dataset = with_empty_photos(dataset, config.pseudo.source)
    require_same_photos(dataset)
    wanted = _identities(config, dataset, workdir, chosen)
    mesh = devices.make_mesh()
    contexts = {
        name: Context(workdir, dataset, config.seed, mesh, _input_configs(config, wanted[name])) for name in chosen
    }
    extended, to_do = _decide(config, contexts, wanted, workdir)
    for name in to_do:
        _check(name, config, contexts[name])
    processes.barrier()  # nothing is computed or removed before all processes have checked everything
    return Plan(config, workdir, dataset, contexts, wanted, to_do, extended)


def _identities(config: ConfigDict, dataset: Dataset, workdir: Path, chosen: Sequence[str]) -> dict[str, Identity]:
    """The identities of all stages, as the first process sees the workdir."""

    def decide() -> dict[str, dict]:
        wanted = identities(config, dataset, workdir, chosen)
        require_inputs(config, workdir, chosen)
        return {name: one._asdict() for name, one in wanted.items()}

    return {name: Identity(**fields) for name, fields in processes.from_first(decide).items()}


def _decide(
    config: ConfigDict, contexts: dict[str, Context], wanted: dict[str, Identity], workdir: Path
) -> tuple[list[str], list[str]]:
    """The chosen stages that continue with more epochs, and those to do, as the first process sees the workdir."""

    def decide() -> tuple[list[str], list[str]]:
        extended = require_same(config, contexts, wanted, workdir)
        return sorted(extended), [name for name in contexts if not is_finished(workdir, name, wanted[name])]

    extended, to_do = processes.from_first(decide)
    return extended, to_do


def carry_out(plan: Plan) -> dict[str, float]:
    """Run the stages that a plan has left to do; return the contents of metrics.json, {} before there is one."""
    config, workdir = plan.config, plan.workdir
    records = [record for of_split in plan.dataset.splits.values() for record in of_split]
    _write_json(config_file(workdir), json.loads(config.to_json()))
    _write_json(classes_file(workdir), list(plan.dataset.classes))
    _write_json(levels_file(workdir), depth.levels_of_dataset(records, config.data.levels))
    if processes.is_first():
        _mark_replaced(plan)
    for name, context in plan.contexts.items():
        if name in plan.to_do:
            _run(name, config, context, plan.identities[name], name in plan.extended)
        else:
            logging.info("%s: already finished", name)
    logging.info("%s", _summary(workdir))
    return read_metrics(workdir)


def _write_json(path: Path, content: Any) -> None:
    write_atomically(path, lambda file: file.write(json.dumps(content, indent=2).encode()))


def _summary(workdir: Path) -> str:
    """The last line of a run: the boxes and the page, as far as there are any."""
    places = {
        "boxes": next((folder for folder in box_folders(workdir) if folder.is_dir()), None),
        "page": next(iter(report_folder(workdir).glob("index.html")), None),
    }
    return "; ".join(["finished", *(f"{name}: {place}" for name, place in places.items() if place)])


def _input_configs(config: ConfigDict, wanted: Identity) -> dict[str, ConfigDict]:
    return {name: config[STAGES[name].key] for name in wanted.inputs if name in STAGES}


def _chosen(stages: str) -> list[str]:
    names = [name.strip() for name in stages.split(",") if name.strip()]
    unknown = [name for name in names if name not in STAGES]
    if unknown or not names:
        raise InputError(f"--config.stages is {stages!r}; expected some of {','.join(STAGES)}")
    return [name for name in STAGES if name in names]


def _make(workdir: Path) -> None:
    if isinstance(workdir, RemotePath):
        _require_checkpoints(workdir)
        return  # there are no folders to make; the lock is the first object that is written
    try:
        str(workdir).encode()  # Arrow, Orbax and TensorFlow take text
        workdir.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        raise InputError(f"--workdir={str(workdir)!r}: expected a name in UTF-8") from error
    except OSError as error:
        raise InputError(f"--workdir={workdir}: this folder cannot be created ({error.strerror})") from error
    if not os.access(workdir, os.W_OK):
        raise InputError(f"--workdir={workdir}: this folder cannot be written to")


def _require_checkpoints(workdir: RemotePath) -> None:
    """Raise InputError unless Orbax can write checkpoints there."""
    if not str(workdir).startswith("gs://"):
        raise InputError(
            f"--workdir={workdir}: no checkpoint can be written there; expected a folder or gs://BUCKET/..."
        )
    try:
        import google.cloud.storage  # noqa: F401 - Orbax imports it as late as it removes a checkpoint
    except ImportError as error:
        raise InputError(
            f"--workdir={workdir}: expected the package google-cloud-storage, which Orbax needs"
        ) from error


def _readable_photos(config: ConfigDict, workdir: Path, chosen: Sequence[str], is_dry: bool) -> Dataset:
    """The dataset without broken photos, and without splits that have no photo.

    Where no stage computes on the devices, hence none reads all photos, they are taken as the workdir last saw them.
    """
    cache, data = photos_file(workdir), config.data.copy_and_resolve_references()
    with data.unlocked():
        data.unchanged |= cache.exists() and not any(STAGES[name].together for name in chosen)
        data.index = "" if is_dry else data.index  # a dry run writes nothing
    dataset = load_dataset(data, config.seed)
    dataset, _ = check_photos(
        dataset,
        list(dataset.splits),
        data.on_error,
        cache,
        logging.warning,
        decode=not is_dry and not data.unchanged,
        table=index_file(data.index, to_path(data.dir)),
        is_unchanged=data.unchanged,
    )
    splits = {split: records for split, records in dataset.splits.items() if records}
    counts = ", ".join(f"{len(records)} {split}" for split, records in splits.items())
    logging.info("%d classes; photos: %s; %d device(s)", len(dataset.classes), counts, jax.device_count())
    return dataset._replace(splits=splits)


def _check(name: str, config: ConfigDict, context: Context) -> None:
    key = STAGES[name].key
    with checks.prefixed(f"--config.{key}: "):
        STAGES[name].check(config[key], context)


def _run(name: str, config: ConfigDict, context: Context, wanted: Identity, is_extended: bool) -> None:
    stage = STAGES[name]
    logging.info("%s: started", name)
    if processes.is_first():
        saved = identity.read(context.workdir, name)
        if saved and saved.fingerprint != wanted.fingerprint and not is_extended:
            logging.info("%s: removing results of an older configuration", name)
            for output in stage.outputs:
                remove(context.workdir / output)
        identity.write(context.workdir, name, wanted)
    processes.wait_for_first()
    if stage.together or processes.is_first():
        stage.run(config[stage.key], context)
    processes.wait_for_first()
    identity.write(context.workdir, name, wanted._replace(finished=True))


def _mark_replaced(plan: Plan) -> None:
    """Mark the results that a run replaces, before it begins: where it is cut off, the next run replaces the rest."""
    for name in plan.to_do:
        saved = identity.read(plan.workdir, name)
        if saved and saved.fingerprint != plan.identities[name].fingerprint and name not in plan.extended:
            identity.write(plan.workdir, name, saved._replace(fingerprint=identity.REPLACED, finished=False))
