"""The stages of a workdir: which are finished, which continue, and which results belong to another configuration."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from ml_collections import ConfigDict

from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.records import Dataset, digest
from wsol_jax.errors import InputError
from wsol_jax.stages import identity
from wsol_jax.stages.context import Context
from wsol_jax.stages.identity import Identity
from wsol_jax.stages.table import STAGES


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
    is_chosen = dataset.annotation_frame != "auto" and any(r.orientation != 1 for r in chain(*dataset.splits.values()))
    frame = {"data.annotation_frame": dataset.annotation_frame} if is_chosen else {}
    known: dict[str, Identity] = {}
    for name, stage in STAGES.items():
        inputs = {n: known[n].fingerprint for n in _inputs(config, workdir, chosen, name)}
        for label, file in stage.files(config[stage.key]).items():
            if file.exists():
                inputs[label] = identity.digest_of(file)
                inputs |= frame if file.suffix == ".json" else {}  # drawn boxes, which are in one of the two frames
        known[name] = identity.identify(
            config[stage.key], config.seed, inputs | reading, records, stage.without_effect, stage.neutral
        )
    return known


def _inputs(config: ConfigDict, workdir: Path, chosen: Sequence[str], name: str) -> list[str]:
    """The inputs of a stage that this run computes or the workdir already has."""
    return [n for n in _possible_inputs(config, name) if n in chosen or is_finished(workdir, n)]


def _possible_inputs(config: ConfigDict, name: str) -> list[str]:
    """The inputs of a stage that no file replaces."""
    stage = STAGES[name]
    replaced = {n for n, keys in stage.instead.items() if any(config[stage.key][key] for key in keys)}
    return [n for n in stage.inputs if n not in replaced]


def is_finished(workdir: Path, name: str, wanted: Identity | None = None) -> bool:
    """Return whether a stage is finished, with the wanted fingerprint if given, and its results are still there."""
    saved = identity.read(workdir, name)
    if saved is None or not saved.finished or (wanted and saved.fingerprint != wanted.fingerprint):
        return False
    return all((workdir / output).exists() for output in STAGES[name].outputs)


def require_inputs(config: ConfigDict, workdir: Path, chosen: Sequence[str]) -> None:
    """Raise InputError unless every chosen stage has its inputs, in the workdir or among the chosen stages.

    Args:
        config: of the run.
        workdir: of the run.
        chosen: the stages of this run.
    """
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


def require_same(
    config: ConfigDict, contexts: dict[str, Context], wanted: dict[str, Identity], workdir: Path
) -> set[str]:
    """Return the stages whose results are of fewer epochs and continue; those that only follow from them are redone.

    Args:
        config: of the run.
        contexts: of the chosen stages.
        wanted: the identities of all stages.
        workdir: of the run.

    Raises:
        InputError: a chosen stage, or an input of one, has results of another configuration that are not redone.
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
        if saved.fingerprint in (wanted[name].fingerprint, identity.REPLACED):
            redone |= {name} if chosen and not saved.finished else set()  # a run was cut off
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
        advice = "--config.overwrite=True redoes the stages of --config.stages"
        if config.overwrite:
            advice = f"add {','.join(changed)} to --config.stages"
        raise InputError(
            f"--workdir={workdir} has results of another configuration: {'; '.join(listed)}; {advice}, another workdir "
            "keeps them"
        )
    return extended


def _obstacle(name: str, saved: Identity, wanted: Identity, contexts: dict[str, Context]) -> str | None:
    """'' if a stage continues from its results of fewer epochs, or why not; None if its epochs are not the matter."""
    if not identity.follows(saved._replace(config=wanted.config), wanted, ()):
        return None
    return STAGES[name].extends(saved.config, wanted.config, contexts[name])


def _has_results(workdir: Path, name: str) -> bool:
    places = [workdir / output for output in STAGES[name].outputs]
    return any(path.is_file() for place in places for path in chain((place,), place.rglob("*")))
