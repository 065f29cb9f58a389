"""The run of an experiment: which stages are finished, which continue, and which results belong to another one.

A stage receives its own part of the configuration and the results of its inputs, nothing else. A finished stage is
skipped, one that was cut off continues, and results with another fingerprint stop the run.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks, devices, processes
from wsol_jax.config import check_config
from wsol_jax.data import load_dataset
from wsol_jax.data.check import check_photos
from wsol_jax.data.records import Dataset, digest
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.runs.agreement import require_same_photos, require_same_run
from wsol_jax.stages import identity
from wsol_jax.stages.context import Context
from wsol_jax.stages.identity import Identity
from wsol_jax.stages.table import STAGES
from wsol_jax.stages.workdir import config_file, metrics_file, photos_file


class Plan(NamedTuple):
    """A checked run, ready to be carried out.

    Attributes:
        config: of the run.
        workdir: of the run.
        dataset: the readable photos.
        contexts: of the chosen stages, in their order.
        identities: of all stages.
        to_do: the chosen stages that are not finished.
    """

    config: ConfigDict
    workdir: Path
    dataset: Dataset
    contexts: dict[str, Context]
    identities: dict[str, Identity]
    to_do: list[str]


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
    return carry_out(plan(config, Path(workdir)))


def plan(config: ConfigDict, workdir: Path, dataset: Dataset | None = None) -> Plan:
    """Check a run; only the workdir and the cache of readable photos are written.

    Args:
        config: as a file of configs/ returns it.
        workdir: as in `run`.
        dataset: of the plan of another run on the same photos, to be used without reading them again.

    Raises:
        InputError: as `run`.
    """
    check_config(config, jax.device_count())
    require_same_run(config)
    chosen = _chosen(config.stages)
    with processes.first_goes_ahead():
        _make(workdir)
        dataset = dataset or _readable_photos(config, workdir)
    require_same_photos(dataset)
    wanted, to_do = _decide(config, workdir, dataset, chosen)

    mesh = devices.make_mesh()
    contexts = {
        name: Context(workdir, dataset, config.seed, mesh, _input_configs(config, wanted[name])) for name in chosen
    }
    for name in to_do:
        _check(name, config, contexts[name])
    return Plan(config, workdir, dataset, contexts, wanted, to_do)


def _decide(
    config: ConfigDict, workdir: Path, dataset: Dataset, chosen: Sequence[str]
) -> tuple[dict[str, Identity], list[str]]:
    """The identities of all stages and the chosen ones that are not finished, as the first process sees the workdir."""

    def decide() -> tuple[dict[str, dict], list[str]]:
        wanted = identities(config, dataset, workdir, chosen)
        _require_inputs(config, workdir, chosen)
        _require_same(config, workdir, chosen, wanted)
        to_do = [name for name in chosen if not _is_finished(workdir, name, wanted[name])]
        return {name: one._asdict() for name, one in wanted.items()}, to_do

    wanted, to_do = processes.from_first(decide)
    return {name: Identity(**fields) for name, fields in wanted.items()}, to_do


def carry_out(plan: Plan) -> dict[str, float]:
    """Run the stages that a plan has left to do; return the contents of metrics.json, {} before there is one."""
    config, workdir = plan.config, plan.workdir
    processes.barrier()  # nothing is removed before all processes have checked everything
    write_atomically(config_file(workdir), lambda file: file.write(config.to_json(indent=2).encode()))
    for name, context in plan.contexts.items():
        if name in plan.to_do:
            _run(name, config, context, plan.identities[name])
        else:
            logging.info("%s: already finished", name)
    metrics = metrics_file(workdir)
    return json.loads(metrics.read_text()) if metrics.exists() else {}


def _input_configs(config: ConfigDict, wanted: Identity) -> dict[str, ConfigDict]:
    return {name: config[STAGES[name].key] for name in wanted.inputs if name in STAGES}


def _chosen(stages: str) -> list[str]:
    names = [name.strip() for name in stages.split(",") if name.strip()]
    unknown = [name for name in names if name not in STAGES]
    if unknown or not names:
        raise InputError(f"--config.stages is {stages!r}; expected some of {','.join(STAGES)}")
    return [name for name in STAGES if name in names]


def _make(workdir: Path) -> None:
    if not processes.is_first() and not workdir.is_dir():
        raise InputError(
            f"--workdir={workdir}: process {processes.number()} does not see the folder that process 0 created; "
            "expected a folder that all hosts share"
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--workdir={workdir}: this folder cannot be created ({error.strerror})") from error
    if not os.access(workdir, os.W_OK):
        raise InputError(f"--workdir={workdir}: this folder cannot be written to")


def _readable_photos(config: ConfigDict, workdir: Path) -> Dataset:
    """The dataset without broken photos, and without splits that have no photo."""
    dataset = load_dataset(config.data, config.seed)
    cache = photos_file(workdir)
    dataset, _ = check_photos(dataset, list(dataset.splits), config.data.on_error, cache, logging.warning)
    splits = {split: records for split, records in dataset.splits.items() if records}
    counts = ", ".join(f"{len(records)} {split}" for split, records in splits.items())
    logging.info("%d classes; photos: %s; %d device(s)", len(dataset.classes), counts, jax.device_count())
    return dataset._replace(splits=splits)


def identities(config: ConfigDict, dataset: Dataset, workdir: Path, chosen: Sequence[str]) -> dict[str, Identity]:
    """Return the identity that every stage would have if it ran now.

    Args:
        config: as a file of configs/ returns it.
        dataset: the photos.
        workdir: where some stages may be finished.
        chosen: the stages of this run.

    Returns:
        Stage -> its identity. A stage's inputs are those that this run computes or the workdir already has.
    """
    records = {split: digest(records) for split, records in dataset.splits.items()}
    known: dict[str, Identity] = {}
    for name, stage in STAGES.items():
        inputs = {n: known[n].fingerprint for n in _inputs(config, workdir, chosen, name)}
        for label, file in stage.files(config[stage.key]).items():
            if file.exists():
                inputs[label] = identity.digest_of(file)
        known[name] = identity.identify(config[stage.key], config.seed, inputs, records)
    return known


def _inputs(config: ConfigDict, workdir: Path, chosen: Sequence[str], name: str) -> list[str]:
    """The inputs of a stage that this run computes or the workdir already has."""
    return [n for n in _possible_inputs(config, name) if n in chosen or _is_finished(workdir, n)]


def _possible_inputs(config: ConfigDict, name: str) -> list[str]:
    """The inputs of a stage that no file replaces."""
    stage = STAGES[name]
    replaced = {n for n, keys in stage.instead.items() if any(config[stage.key][key] for key in keys)}
    return [n for n in stage.inputs if n not in replaced]


def _is_finished(workdir: Path, name: str, wanted: Identity | None = None) -> bool:
    """Whether a stage is finished, with the wanted fingerprint if one is given, and its results are still there."""
    saved = identity.read(workdir, name)
    if saved is None or not saved.finished or (wanted and saved.fingerprint != wanted.fingerprint):
        return False
    return all((workdir / output).exists() for output in STAGES[name].outputs)


def _require_inputs(config: ConfigDict, workdir: Path, chosen: Sequence[str]) -> None:
    for name in chosen:
        possible, inputs = _possible_inputs(config, name), _inputs(config, workdir, chosen, name)
        if begun := [n for n in possible if n not in inputs and _has_results(workdir, n)]:
            raise InputError(
                f"stage {name} uses {begun[0]}, which is not finished in {workdir}; add it to --config.stages"
            )
        replaced = len(possible) < len(STAGES[name].inputs)
        if possible and not inputs and not replaced:
            raise InputError(
                f"stage {name} needs {' or '.join(possible)}, which {workdir} does not have; add it to --config.stages"
            )


def _require_same(config: ConfigDict, workdir: Path, chosen: Sequence[str], wanted: dict[str, Identity]) -> None:
    """Check that the results of the chosen stages and of their inputs have the fingerprints they would have now."""
    used = set(chosen)
    for name in reversed(STAGES):
        used |= set(wanted[name].inputs) & set(STAGES) if name in used else set()
    changed: dict[str, list[str]] = {}
    for name in (n for n in STAGES if n in used and _has_results(workdir, n)):
        saved = identity.read(workdir, name)
        if saved is None:
            raise InputError(
                f"--workdir={workdir}: its {STAGES[name].outputs[0]} does not belong to a run; use another workdir"
            )
        if saved.fingerprint != wanted[name].fingerprint and not (config.overwrite and name in chosen):
            changed[name] = identity.differences(STAGES[name].key, saved, wanted[name], changed)
    if changed:
        listed = dict.fromkeys(difference for differences in changed.values() for difference in differences)
        raise InputError(
            f"--workdir={workdir} has results of another configuration: {'; '.join(listed)}; --config.overwrite=True "
            "redoes the stages of --config.stages, another workdir keeps them"
        )


def _has_results(workdir: Path, name: str) -> bool:
    places = [workdir / output for output in STAGES[name].outputs]
    return any(path.is_file() for place in places for path in (place, *place.rglob("*")))


def _check(name: str, config: ConfigDict, context: Context) -> None:
    key = STAGES[name].key
    with checks.prefixed(f"--config.{key}: "):
        STAGES[name].check(config[key], context)


def _run(name: str, config: ConfigDict, context: Context, wanted: Identity) -> None:
    stage = STAGES[name]
    logging.info("%s: started", name)
    if processes.is_first():
        saved = identity.read(context.workdir, name)
        if saved and saved.fingerprint != wanted.fingerprint:
            _clear(context.workdir, name)
        identity.write(context.workdir, name, wanted)
    processes.wait_for_first()
    if stage.together or processes.is_first():
        stage.run(config[stage.key], context)
    processes.wait_for_first()
    identity.write(context.workdir, name, wanted._replace(finished=True))


def _clear(workdir: Path, name: str) -> None:
    logging.info("%s: removing results of an older configuration", name)
    for path in (workdir / output for output in STAGES[name].outputs):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
