"""The run of an experiment: which stages are finished, which continue, and which results belong to another one.

A stage receives its own part of the configuration and the results of its inputs, nothing else. A finished stage is
skipped, one that was cut off continues, and results with another fingerprint stop the run.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks, devices
from wsol_jax.compilation import keep_compiled
from wsol_jax.config import check_config
from wsol_jax.data import load_dataset
from wsol_jax.data.check import check_photos
from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.records import Dataset, digest
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.stages import identity
from wsol_jax.stages.context import Context
from wsol_jax.stages.identity import Identity
from wsol_jax.stages.lock import locked
from wsol_jax.stages.table import STAGES
from wsol_jax.stages.workdir import box_folders, classes_file, config_file, metrics_file, photos_file, report_folder


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
    extended: set[str]


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
    with held(Path(workdir)):
        return carry_out(plan(config, Path(workdir)))


@contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Hold a workdir inside of the block, so that no other run writes there; it is created if it does not exist.

    Of several processes of one run the first one does.

    Raises:
        InputError: the folder cannot be created or written to, or another run holds it.
    """
    if jax.process_index() > 0:
        yield
        return
    _make(workdir)
    with locked(workdir):
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
    keep_compiled(config.compilation_cache)
    chosen = _chosen(config.stages)
    if not is_dry:
        _make(workdir)
    dataset = dataset or _readable_photos(config, workdir, is_dry)
    wanted = identities(config, dataset, workdir, chosen)
    _require_inputs(config, workdir, chosen)
    mesh = devices.make_mesh()
    contexts = {
        name: Context(workdir, dataset, config.seed, mesh, _input_configs(config, wanted[name])) for name in chosen
    }
    extended = _require_same(config, contexts, wanted, workdir)
    to_do = [name for name in chosen if not _is_finished(workdir, name, wanted[name])]
    for name in to_do:
        _check(name, config, contexts[name])
    return Plan(config, workdir, dataset, contexts, wanted, to_do, extended)


def carry_out(plan: Plan) -> dict[str, float]:
    """Run the stages that a plan has left to do; return the contents of metrics.json, {} before there is one."""
    config, workdir = plan.config, plan.workdir
    names = json.dumps(list(plan.dataset.classes), indent=2)
    write_atomically(config_file(workdir), lambda file: file.write(config.to_json(indent=2).encode()))
    write_atomically(classes_file(workdir), lambda file: file.write(names.encode()))
    for name, context in plan.contexts.items():
        if name in plan.to_do:
            _run(name, config, context, plan.identities[name], name in plan.extended)
        else:
            logging.info("%s: already finished", name)
    logging.info("%s", _summary(workdir))
    metrics = metrics_file(workdir)
    return json.loads(metrics.read_text()) if metrics.exists() else {}


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
    try:
        str(workdir).encode()  # Arrow, Orbax and TensorFlow take text
        workdir.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        raise InputError(f"--workdir={str(workdir)!r}: expected a name in UTF-8") from error
    except OSError as error:
        raise InputError(f"--workdir={workdir}: this folder cannot be created ({error.strerror})") from error
    if not os.access(workdir, os.W_OK):
        raise InputError(f"--workdir={workdir}: this folder cannot be written to")


def _readable_photos(config: ConfigDict, workdir: Path, is_dry: bool) -> Dataset:
    """The dataset without broken photos, and without splits that have no photo."""
    dataset = load_dataset(config.data, config.seed)
    cache = photos_file(workdir)
    names = list(dataset.splits)
    dataset, _ = check_photos(dataset, names, config.data.on_error, cache, logging.warning, decode=not is_dry)
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
    is_scaled = isinstance(dataset.read, PhotoFiles) and not dataset.read.is_exact
    reading = {"data.exact_decode=False": "scaled"} if is_scaled else {}
    known: dict[str, Identity] = {}
    for name, stage in STAGES.items():
        inputs = {n: known[n].fingerprint for n in _inputs(config, workdir, chosen, name)}
        for label, file in stage.files(config[stage.key]).items():
            if file.exists():
                inputs[label] = identity.digest_of(file)
        known[name] = identity.identify(config[stage.key], config.seed, inputs | reading, records, stage.without_effect)
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


def _require_same(
    config: ConfigDict, contexts: dict[str, Context], wanted: dict[str, Identity], workdir: Path
) -> set[str]:
    """Check that the results of the chosen stages and of their inputs have the fingerprints they would have now.

    Returns the stages whose results are of fewer epochs and continue; those that only follow from them are redone.
    """
    used = set(contexts)
    for name in reversed(STAGES):
        used |= set(wanted[name].inputs) & set(STAGES) if name in used else set()
    changed: dict[str, list[str]] = {}
    extended, redone = set(), set()
    for name in (n for n in STAGES if n in used and _has_results(workdir, n)):
        stage, saved, chosen = STAGES[name], identity.read(workdir, name), name in contexts
        if saved is None:
            raise InputError(
                f"--workdir={workdir}: its {stage.outputs[0]} does not belong to a run; use another workdir"
            )
        if saved.fingerprint == wanted[name].fingerprint:
            continue
        obstacle = _obstacle(name, saved, wanted[name], contexts) if chosen else None
        if obstacle == "":
            extended.add(name)
            redone.add(name)
        elif chosen and (config.overwrite or stage.is_view or identity.follows(saved, wanted[name], redone)):
            redone.add(name)
        else:
            changed[name] = identity.differences(stage.key, saved, wanted[name], changed)
            changed[name] += [f"{name} cannot continue: {obstacle}"] if obstacle else []
    if changed:
        listed = dict.fromkeys(difference for differences in changed.values() for difference in differences)
        raise InputError(
            f"--workdir={workdir} has results of another configuration: {'; '.join(listed)}; --config.overwrite=True "
            "redoes the stages of --config.stages, another workdir keeps them"
        )
    return extended


def _obstacle(name: str, saved: Identity, wanted: Identity, contexts: dict[str, Context]) -> str | None:
    """'' if a stage continues from its results of fewer epochs, or why not; None if its epochs are not the matter."""
    if not identity.follows(saved._replace(config=wanted.config), wanted, ()):
        return None
    return STAGES[name].extends(saved.config, wanted.config, contexts[name])


def _has_results(workdir: Path, name: str) -> bool:
    places = [workdir / output for output in STAGES[name].outputs]
    return any(path.is_file() for place in places for path in (place, *place.rglob("*")))


def _check(name: str, config: ConfigDict, context: Context) -> None:
    key = STAGES[name].key
    with checks.prefixed(f"--config.{key}: "):
        STAGES[name].check(config[key], context)


def _run(name: str, config: ConfigDict, context: Context, wanted: Identity, is_extended: bool) -> None:
    stage, saved = STAGES[name], identity.read(context.workdir, name)
    logging.info("%s: started", name)
    if saved and saved.fingerprint != wanted.fingerprint and not is_extended:
        _clear(context.workdir, name)
    identity.write(context.workdir, name, wanted)
    stage.run(config[stage.key], context)
    identity.write(context.workdir, name, wanted._replace(finished=True))


def _clear(workdir: Path, name: str) -> None:
    logging.info("%s: removing results of an older configuration", name)
    for path in (workdir / output for output in STAGES[name].outputs):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
