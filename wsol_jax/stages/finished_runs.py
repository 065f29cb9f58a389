"""Evaluated runs, read for a comparison: the results of every photo, and all that they depend on except the seed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from wsol_jax.data.check import photo_contents
from wsol_jax.errors import InputError
from wsol_jax.evaluation.maps import BY_PSEUDO, VALIDATED, Chosen
from wsol_jax.evaluation.photo_results import PhotoResults, first_difference, read
from wsol_jax.stages import identity
from wsol_jax.stages.map_runs import read_metrics
from wsol_jax.stages.table import STAGES
from wsol_jax.stages.workdir import config_file, photos_file, results_file

EVALUATE = "evaluate"
NAMES_INPUT = ("_from", ".weights", ".source")  # ends of the keys that may name a run or a file
WITHOUT_EFFECT = ("evaluate.resamples", *(f"data.{key}" for key in ("dir", "index", "unchanged", "workers")))
"""The keys without effect on the results of photos."""


class FinishedRun(NamedTuple):
    """The results of a run.

    Attributes:
        workdir: of the run.
        seed: of the run.
        recipe: key -> value, and file -> digest, of everything else that the results depend on.
        results: of the photos of one split.
        content: of the files of these photos, see `check.photo_contents`.
        step: between the thresholds of a map.
        chosen: the thresholds of validation photos, for another split, and those of pseudo boxes.
    """

    workdir: Path
    seed: int
    recipe: dict[str, Any]
    results: PhotoResults
    content: np.ndarray
    step: float
    chosen: Chosen


def read_run(workdir: Path, split: str) -> FinishedRun:
    """Return the results of a run on the photos of a split.

    Raises:
        InputError: it is not the workdir of a run, a stage up to `evaluate` is not finished, it has no photos of this
            split, or a file is damaged.
    """
    config = _read_config(workdir)
    stages = _finished_stages(workdir, config)
    file = results_file(workdir, split)
    if not file.parent.is_dir():
        raise InputError(f"{workdir} has no results of single photos; the command of the run redoes its stage evaluate")
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in file.parent.glob("*.parquet")))
        raise InputError(f"{workdir} has no {split} photos; expected one of its splits, {there}")
    evaluated, results = stages[EVALUATE], read(file)
    return FinishedRun(
        workdir,
        evaluated.seed,
        _recipe(config, stages),
        results,
        photo_contents(photos_file(workdir), results.image),
        evaluated.config["threshold_step"],
        _chosen(read_metrics(workdir), split),
    )


def require_same_photos(runs: Sequence[FinishedRun], split: str) -> None:
    """Raise InputError, with the first difference, unless all runs are evaluated on the same photos.

    Files of which a workdir does not know the content, such as generated scenes, count as the same.

    Args:
        runs: at least one.
        split: their split.
    """
    for run in runs[1:]:
        if difference := first_difference(runs[0].results, run.results) or _other_content(runs[0], run):
            raise InputError(
                f"{run.workdir}: its {split} photos are not those of {runs[0].workdir}: {difference}; expected runs "
                "on the same photos"
            )


def _other_content(one: FinishedRun, other: FinishedRun) -> str:
    """The first of the same photos whose files differ, in words; '' without one."""
    is_known = (one.content != b"") & (other.content != b"")
    differing = np.flatnonzero(is_known & (one.content != other.content))
    return f"{one.results.image[differing[0]]} is a file with other content" if len(differing) else ""


def differing_keys(recipe: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a recipe that differ from another one, with their values; None where it has no such key."""
    names = sorted(recipe.keys() | other.keys())
    return {name: recipe.get(name) for name in names if recipe.get(name) != other.get(name)}


def differ_in_inputs_alone(recipe: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two recipes differ in nothing but the paths of the runs and files that their stages read."""
    (keys, files), (other_keys, other_files) = _inputs(recipe), _inputs(other)
    return all(
        name in (keys & other_keys if name in recipe and name in other else files | other_files)
        for name in differing_keys(recipe, other)
    )


def _inputs(recipe: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """The keys of a recipe that name a run or a file, and the files that were read of them."""
    named = {key: str(value) for key, value in recipe.items() if key.endswith(NAMES_INPUT) and value}
    read = {key: {name for name in recipe if PurePath(name).is_relative_to(value)} for key, value in named.items()}
    return {key for key, files in read.items() if files}, set().union(*read.values())


def _read_config(workdir: Path) -> dict[str, Any]:
    if not workdir.is_dir():
        raise InputError(f"{workdir}: no such folder; expected the workdir of a run")
    if not config_file(workdir).is_file():
        raise InputError(f"{workdir} has no config.json; expected the workdir of a run")
    try:
        return dict(json.loads(config_file(workdir).read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{config_file(workdir)}: not a readable configuration") from error


def _finished_stages(workdir: Path, config: Mapping[str, Any]) -> dict[str, identity.Identity]:
    """The stages whose results the metrics depend on."""
    saved = {name: identity.read(workdir, name) for name in STAGES}
    chosen = {name.strip() for name in str(config.get("stages", "")).split(",")}
    used = {EVALUATE}
    for name in reversed(STAGES):
        used |= set(saved[name].inputs) if name in used and saved[name] else set()
    for name in [*STAGES][: [*STAGES].index(EVALUATE) + 1]:
        if name in chosen | used and not (saved[name] and saved[name].finished):
            raise InputError(f"{workdir}: its stage {name} is not finished; the command of the run continues it")
    stages = {name: stage for name, stage in saved.items() if name in used}
    for name, stage in stages.items():
        if old := [one for one in stage.inputs if one in stages and stage.inputs[one] != stages[one].fingerprint]:
            raise InputError(f"{workdir}: its stage {name} is older than {old[0]}; the command of the run redoes it")
    return stages


def _chosen(metrics: Mapping[str, float], split: str) -> Chosen:
    """The thresholds of the metrics `val_threshold/...` and `pseudo_threshold/...` of a split, by prefix."""
    places = {BY_PSEUDO: f"{BY_PSEUDO}/" if split == "test" else f"{split}/{BY_PSEUDO}/"}
    places |= {} if split == "val" else {VALIDATED: "val/"}
    chosen = {
        prefix: {
            name.removeprefix(place): value
            for name, value in metrics.items()
            if name.startswith(place) and name.endswith("/threshold")
        }
        for prefix, place in places.items()
    }
    return {prefix: at for prefix, at in chosen.items() if at}


def _recipe(config: Mapping[str, Any], stages: Mapping[str, identity.Identity]) -> dict[str, Any]:
    """The keys of the photos and of these stages, and the digests of the files that they read."""
    keys = {"data": config.get("data", {}), "stages": ",".join(stages)}
    files: dict[str, Any] = {}
    for name, stage in stages.items():
        keys[STAGES[name].key] = stage.config
        files |= {file: value for file, value in stage.inputs.items() if file not in STAGES}
    recipe = identity.flat(keys) | files
    return {name: value for name, value in recipe.items() if name not in WITHOUT_EFFECT}
