"""The order of the stages, what each is given, and which are already done.

A stage receives its own part of the configuration and the results of the stages it names, nothing else. A finished
stage is skipped, one that was cut off goes on, and one made from something else stops the run.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import NamedTuple

import jax
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import combine, identity, maps, psol, results
from wsol_jax.config import check_values
from wsol_jax.context import Context
from wsol_jax.data import load_dataset
from wsol_jax.data.check import check_photos
from wsol_jax.data.records import Dataset, digest
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.identity import Identity
from wsol_jax.report import map_views
from wsol_jax.report.gather import check_report, report
from wsol_jax.training import devices


class Stage(NamedTuple):
    """One step of a run.

    Attributes:
        key: its part of the configuration.
        inputs: the stages whose results it uses; it needs at least one of them, if it names any.
        outputs: what it writes, relative to the workdir.
        run: does it.
        check: raises InputError if `run` would, as far as that can be told before the stages in front of it have run.
        instead: input -> the keys of its configuration that may name something to use in place of that input.
        files: its configuration -> files of other runs or people that it reads; they are part of what it is made from.
    """

    key: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Callable[[ConfigDict, Context], None]
    check: Callable[[ConfigDict, Context], None] = lambda config, context: None
    instead: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    files: Callable[[ConfigDict], Sequence[Path]] = lambda config: ()


def _family(config: ConfigDict, context: Context) -> ModuleType:
    """Whose predictions they are: those of score maps, or PSOL's."""
    return maps if config.grad_cam_from or "train" in context.configs else psol


STAGES: dict[str, Stage] = {
    "pseudo_boxes": Stage("pseudo", (), ("pseudo_boxes",), psol.pseudo_boxes, files=psol.files_of_pseudo_boxes),
    "localizer": Stage("localizer", ("pseudo_boxes",), ("localizer",), psol.train_localizer, psol.check_localizer),
    "classifier": Stage("classifier", (), ("classifier",), psol.train_classifier, psol.check_classifier),
    "train": Stage("train", (), ("model",), maps.train, maps.check_train),
    "joint": Stage("joint", ("pseudo_boxes",), ("joint",), psol.train_joint, psol.check_joint),
    "predict": Stage(
        "predict",
        ("localizer", "classifier", "joint", "train"),
        ("predictions",),
        lambda config, context: _family(config, context).predict(config, context),
        lambda config, context: _family(config, context).check_predict(config, context),
        instead={
            "localizer": ("boxes_from", "localizer_from"),
            "classifier": ("classes_from",),
            "train": ("grad_cam_from",),
        },
        files=psol.files_of_predict,
    ),
    "maps": Stage("maps", ("predict",), ("maps",), maps.save_maps),
    "read_maps": Stage("maps", (), ("maps.json",), maps.read_maps, maps.check_read_maps, files=maps.files_of_maps),
    "evaluate": Stage(
        "evaluate", ("pseudo_boxes", "predict", "read_maps"), ("metrics.json", "curves.json"), results.evaluate
    ),
    "report": Stage(
        "report",
        ("pseudo_boxes", "localizer", "classifier", "joint", "train", "predict", "read_maps", "evaluate"),
        ("report",),
        report,
        check_report,
        files=map_views.files,
    ),
    "combine": Stage("combine", (), ("combine",), combine.combine, combine.check, files=combine.files),
}


class Plan(NamedTuple):
    """A run in which nothing is wrong, as far as that can be told before it starts.

    Attributes:
        config: of the run.
        workdir: of the run.
        dataset: the photos that can be read.
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
    """Runs the stages of `config.stages` that are not finished in `workdir`.

    Whatever can be wrong is looked for before the first of them starts.

    Args:
        config: as a file of configs/ returns it.
        workdir: where everything is written; made if it is not there.

    Returns:
        The contents of metrics.json, {} before there is one.

    Raises:
        InputError: whatever is wrong with the configuration, the data, the weights or the workdir, in one line.
    """
    return carry_out(plan(config, Path(workdir)))


def plan(config: ConfigDict, workdir: Path, dataset: Dataset | None = None) -> Plan:
    """Looks for whatever can be wrong with a run; nothing is written but the workdir and which photos can be read.

    Args:
        config: as a file of configs/ returns it.
        workdir: as in `run`.
        dataset: of the plan of another run on the same photos, which are not looked at again then.

    Raises:
        InputError: as `run`.
    """
    check_values(config, jax.device_count())
    chosen = _chosen(config.stages)
    _make(workdir)
    dataset = dataset or _readable_photos(config, workdir)
    wanted = identities(config, dataset, workdir, chosen)
    _require_inputs(config, workdir, chosen)
    _require_same(config, workdir, chosen, wanted)

    mesh = devices.make_mesh()
    contexts = {
        name: Context(workdir, dataset, config.seed, mesh, _input_configs(config, wanted[name])) for name in chosen
    }
    to_do = [name for name in chosen if not _is_finished(workdir, name, wanted[name])]
    for name in to_do:
        _check(name, config, contexts[name])
    return Plan(config, workdir, dataset, contexts, wanted, to_do)


def carry_out(plan: Plan) -> dict[str, float]:
    """Runs what a plan has left to do; returns the contents of metrics.json, {} before there is one."""
    config, workdir = plan.config, plan.workdir
    write_atomically(workdir / "config.json", lambda file: file.write(config.to_json(indent=2).encode()))
    for name, context in plan.contexts.items():
        if name in plan.to_do:
            _run(name, config, context, plan.identities[name])
        else:
            logging.info("%s: already finished", name)
    metrics = workdir / "metrics.json"
    return json.loads(metrics.read_text()) if metrics.exists() else {}


def _input_configs(config: ConfigDict, made_from: Identity) -> dict[str, ConfigDict]:
    return {name: config[STAGES[name].key] for name in made_from.inputs if name in STAGES}


def _chosen(stages: str) -> list[str]:
    names = [name.strip() for name in stages.split(",") if name.strip()]
    unknown = [name for name in names if name not in STAGES]
    if unknown or not names:
        raise InputError(f"--config.stages is {stages!r}; expected some of {','.join(STAGES)}")
    return [name for name in STAGES if name in names]


def _make(workdir: Path) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--workdir={workdir}: this folder cannot be made ({error.strerror})") from error
    if not os.access(workdir, os.W_OK):
        raise InputError(f"--workdir={workdir}: this folder cannot be written to")


def _readable_photos(config: ConfigDict, workdir: Path) -> Dataset:
    """The dataset without broken photos, and without splits that have no photo."""
    dataset = load_dataset(config.data, config.seed)
    cache = workdir / "photos.json"
    dataset, _ = check_photos(dataset, list(dataset.splits), config.data.on_error, cache, logging.warning)
    splits = {split: records for split, records in dataset.splits.items() if records}
    counts = ", ".join(f"{len(records)} {split}" for split, records in splits.items())
    logging.info("%d classes; photos: %s; %d device(s)", len(dataset.classes), counts, jax.device_count())
    return dataset._replace(splits=splits)


def identities(config: ConfigDict, dataset: Dataset, workdir: Path, chosen: Sequence[str]) -> dict[str, Identity]:
    """What every stage would be made from, were it made now.

    Args:
        config: as a file of configs/ returns it.
        dataset: the photos.
        workdir: where some stages may be finished.
        chosen: the stages of this run.

    Returns:
        Stage -> its identity. A stage's inputs are those that this run makes or the workdir already has.
    """
    records = {split: digest(records) for split, records in dataset.splits.items()}
    found: dict[str, Identity] = {}
    for name, stage in STAGES.items():
        inputs = {n: found[n].fingerprint for n in _inputs(config, workdir, chosen, name)}
        inputs |= {str(file): identity.digest_of(file) for file in stage.files(config[stage.key]) if file.exists()}
        found[name] = identity.identify(config[stage.key], config.seed, inputs, records)
    return found


def _inputs(config: ConfigDict, workdir: Path, chosen: Sequence[str], name: str) -> list[str]:
    """The inputs of a stage that this run makes or the workdir already has."""
    return [n for n in _possible_inputs(config, name) if n in chosen or _is_finished(workdir, n)]


def _possible_inputs(config: ConfigDict, name: str) -> list[str]:
    """The inputs of a stage that no file replaces."""
    stage = STAGES[name]
    replaced = {n for n, keys in stage.instead.items() if any(config[stage.key][key] for key in keys)}
    return [n for n in stage.inputs if n not in replaced]


def _is_finished(workdir: Path, name: str, wanted: Identity | None = None) -> bool:
    """Whether a stage is done (and made from what is wanted) and its results are still there."""
    saved = identity.read(workdir, name)
    if saved is None or not saved.finished or (wanted and saved.fingerprint != wanted.fingerprint):
        return False
    return all((workdir / output).exists() for output in STAGES[name].outputs)


def _require_inputs(config: ConfigDict, workdir: Path, chosen: Sequence[str]) -> None:
    for name in chosen:
        possible, inputs = _possible_inputs(config, name), _inputs(config, workdir, chosen, name)
        if begun := [n for n in possible if n not in inputs and _anything_made(workdir, n)]:
            raise InputError(
                f"stage {name} uses {begun[0]}, which is not finished in {workdir}; add it to --config.stages"
            )
        replaced = len(possible) < len(STAGES[name].inputs)
        if possible and not inputs and not replaced:
            raise InputError(
                f"stage {name} needs {' or '.join(possible)}, which {workdir} does not have; add it to --config.stages"
            )


def _require_same(config: ConfigDict, workdir: Path, chosen: Sequence[str], wanted: dict[str, Identity]) -> None:
    """Check that what is there, of the chosen stages and of those they use, is made from what it would be made from."""
    used = set(chosen)
    for name in reversed(STAGES):
        used |= set(wanted[name].inputs) & set(STAGES) if name in used else set()
    changed: dict[str, list[str]] = {}
    for name in (n for n in STAGES if n in used and _anything_made(workdir, n)):
        saved = identity.read(workdir, name)
        if saved is None:
            raise InputError(f"--workdir={workdir}: its {STAGES[name].outputs[0]} is not of a run; use another workdir")
        if saved.fingerprint != wanted[name].fingerprint and not (config.overwrite and name in chosen):
            changed[name] = identity.differences(STAGES[name].key, saved, wanted[name], changed)
    if changed:
        told = dict.fromkeys(difference for differences in changed.values() for difference in differences)
        raise InputError(
            f"--workdir={workdir} has results of something else: {'; '.join(told)}; --config.overwrite=True redoes "
            "the stages of --config.stages, another workdir keeps them"
        )


def _anything_made(workdir: Path, name: str) -> bool:
    places = [workdir / output for output in STAGES[name].outputs]
    return any(path.is_file() for place in places for path in (place, *place.rglob("*")))


def _check(name: str, config: ConfigDict, context: Context) -> None:
    key = STAGES[name].key
    try:
        STAGES[name].check(config[key], context)
    except InputError as error:
        raise InputError(f"--config.{key}: {error}") from error


def _run(name: str, config: ConfigDict, context: Context, wanted: Identity) -> None:
    stage, saved = STAGES[name], identity.read(context.workdir, name)
    logging.info("%s: started", name)
    if saved and saved.fingerprint != wanted.fingerprint:
        _clear(context.workdir, name)
    identity.write(context.workdir, name, wanted)
    stage.run(config[stage.key], context)
    identity.write(context.workdir, name, wanted._replace(finished=True))


def _clear(workdir: Path, name: str) -> None:
    logging.info("%s: what was made from something else is taken away", name)
    for path in (workdir / output for output in STAGES[name].outputs):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
