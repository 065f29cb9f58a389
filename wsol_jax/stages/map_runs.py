"""The runs whose score maps a page shows: this run's, another program's, and those of the runs it is compared with."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.arrays import read_array
from wsol_jax.data.records import Dataset, Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation import score_maps
from wsol_jax.evaluation.maps import MapSource
from wsol_jax.methods import METHODS
from wsol_jax.methods.dawsol.target_samples import SETS
from wsol_jax.methods.drawings import DRAWINGS, OWN_MAPS, Drawing
from wsol_jax.paths import to_path
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import read_images, read_predictions
from wsol_jax.pseudo.regions import BOX_SIDE
from wsol_jax.report.figures import NAMES
from wsol_jax.report.map_figures import Curve
from wsol_jax.report.map_views import Assignments, MapRun
from wsol_jax.stages.context import Context, chosen_splits
from wsol_jax.stages.networks import predict_drawing
from wsol_jax.stages.sources import Source, parse_sources
from wsol_jax.stages.workdir import (
    activations_file,
    assignments_file,
    curves_file,
    metrics_file,
    network_folder,
    predictions_file,
)
from wsol_jax.training.log import WATCH, read_log

REDO_PREDICT = "redo the stage predict of its run"

DAWSOL = "DA-WSOL"  # with CAM; on top of another method its name follows


def map_sources(context: Context, size: int) -> dict[str, MapSource]:
    """Return the maps of every split that has some, those of another program where there are both.

    Args:
        context: of the stage.
        size: side of the score maps, pixels.
    """
    sources = {}
    for split in context.dataset.splits:
        if (file := activations_file(predictions_file(context.workdir, split))).exists():
            sources[split] = predicted_maps(file, size)
    if "read_maps" in context.configs:
        config = context.configs["read_maps"]
        for split in chosen_splits(config.splits, context):
            sources[split] = foreign_maps(config, context.dataset, split)
    return sources


def predicted_maps(file: Path, size: int) -> MapSource:
    """Return the maps of `activations_file` as score maps of `size` x `size` pixels, each computed when it is read."""
    activations = read_array(file, (None, None, None), mapped=True, advice=REDO_PREDICT)
    return lambda i: score_maps.score_map(activations[i], (size, size))


def foreign_maps(config: ConfigDict, dataset: Dataset, split: str) -> MapSource:
    """Return the maps that another program wrote to `config.dir`, each checked when it is read."""
    records, size = dataset.splits[split], (config.size, config.size)
    return lambda i: score_maps.read(
        to_path(config.dir).expanduser(), records[i].path.removeprefix(config.prefix), size
    )


def own_run(context: Context, split: str) -> MapRun | None:
    """Return the maps of this run, or those of another program that it reads; None if there are none of this split."""
    size = context.configs["evaluate"].map_size if "evaluate" in context.configs else BOX_SIDE
    source = map_sources(context, size).get(split)
    if source is None:
        return None
    table, predictions = predictions_file(context.workdir, split), Predictions()
    records = context.dataset.splits[split]
    if table.exists():
        predictions = read_predictions(table, records)
    if not activations_file(table).exists():
        predictions = predictions._replace(box=None)  # it is a localizer's, not the maps'
    return _map_run(_own_name(context), source, predictions, context.workdir, split, np.arange(len(records)))


def compared_runs(config: ConfigDict, records: Sequence[Record], split: str) -> list[MapRun]:
    """Return the runs of `report.beside`, on the same photos.

    Raises:
        InputError: one has no maps of these photos; a name comes twice or has another meaning on the page.
    """
    runs = []
    for source in parse_sources(config.beside, split):
        if source.name in NAMES:
            raise InputError(f"beside: {source.name!r} has another meaning on the page; expected another name")
        rows, activations = _read_maps(source, records)
        table, of_row = source.files[0], partial(_score_map_of_row, activations, rows)
        predictions = read_predictions(table, records)
        runs.append(_map_run(source.name, of_row, predictions, table.parents[1], split, rows))
    return runs


def files(config: ConfigDict) -> dict[str, Path]:
    """Return the files of the runs of `report.beside`, by name, whichever split the page shows."""
    paths = []
    for source in parse_sources(config.beside, ""):
        for table in source.files:
            workdir = table.parents[1]
            paths += [table.parent, metrics_file(workdir), network_folder(workdir, "train") / WATCH]
    return {str(path): path for path in paths}


def method_name(config: ConfigDict, drawing: Drawing = OWN_MAPS) -> str:
    """Return the name of the method of a network, and of the drawing of its maps.

    Args:
        config: the keys of `train`, or those of a PSOL run's classifier, which have no DA-WSOL.
        drawing: of its maps.
    """
    title = METHODS[config.method].title
    if "dawsol" in config and config.dawsol.use:
        title = DAWSOL if config.method == "cam" else f"{DAWSOL} ({title})"
    return title if drawing == OWN_MAPS else f"{title}, drawn by {DRAWINGS[drawing.maps]}"


def read_assignments(file: Path, rows: np.ndarray) -> Assignments | None:
    """Return DA-WSOL's sets of the pixels of some photos; None if their run has none.

    Args:
        file: see `workdir.assignments_file`.
        rows: int [n], the row of each record.

    Raises:
        InputError: it is damaged, or of other photos.
    """
    if not file.is_file():
        return None
    sets = read_array(file, (None, None, None), mapped=True, kinds="iu", advice=REDO_PREDICT)
    if len(sets) <= rows.max() or not np.isin(sets, range(len(SETS))).all():
        raise InputError(f"{file} is {sets.dtype} {list(sets.shape)}; expected a map of 0, 1 and 2 for each photo")
    return lambda i: np.asarray(sets[rows[i]])


def read_metrics(workdir: Path) -> dict[str, float]:
    """Return the metrics of a run by name; {} before it is evaluated.

    Raises:
        InputError: their file is damaged.
    """
    return _read_json(metrics_file(workdir), _is_number, "a number")


def read_curves(workdir: Path) -> dict[str, Curve]:
    """Return the curves of a run by name; {} before it is evaluated.

    Raises:
        InputError: their file is damaged.
    """

    def is_curve(value: Any) -> bool:
        is_pair = isinstance(value, list) and len(value) == 2 and all(isinstance(axis, list) for axis in value)
        return is_pair and len(value[0]) == len(value[1]) and all(map(_is_number, value[0] + value[1]))

    return _read_json(curves_file(workdir), is_curve, "two lists of numbers")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_json(file: Path, fits: Callable[[Any], bool], expected: str) -> dict[str, Any]:
    """The values of a file by name, each of which fits; {} if there is no file."""
    advice = "delete it and redo the stage evaluate of its run"
    try:
        values = json.loads(file.read_text()) if file.exists() else {}
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not readable JSON; {advice}") from error
    if not isinstance(values, dict):
        raise InputError(f"{file} is a {type(values).__name__}, not {expected} by name; {advice}")
    for name, value in values.items():
        if not fits(value):
            raise InputError(f"{file}: {name[:100]!r} is {str(value)[:100]!r}, not {expected}; {advice}")
    return values


def _own_name(context: Context) -> str:
    if "read_maps" in context.configs:
        return "Score maps"
    if "train" not in context.configs:
        return METHODS["grad_cam"].title
    return method_name(context.configs["train"], predict_drawing(context.configs["predict"]))


def _score_map_of_row(activations: np.ndarray, rows: np.ndarray, i: int) -> np.ndarray:
    return score_maps.score_map(activations[rows[i]], (BOX_SIDE, BOX_SIDE))


def _map_run(
    method: str, source: MapSource, predictions: Predictions, workdir: Path, split: str, rows: np.ndarray
) -> MapRun:
    """A run's maps with its predictions and metrics; `rows` are the records' in the table of its predictions."""
    assignments = read_assignments(assignments_file(predictions_file(workdir, split)), rows)
    metrics, curves = read_metrics(workdir), read_curves(workdir)
    prefix = "" if split == "test" else f"{split}/"
    thresholds = (metrics.get(f"{prefix}{name}/threshold") for name in ("max_box_acc", "piou"))
    watched = read_log(network_folder(workdir, "train"), WATCH)
    return MapRun(method, source, predictions, metrics, curves, *thresholds, watched, assignments)


def _read_maps(source: Source, records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """The row of each record, int64 [n], and the maps of all rows, [m, h, w]."""
    table = source.files[0]
    file = activations_file(table)
    if len(source.files) > 1 or not file.is_file():
        raise InputError(f"beside: {source.name} has no {file}; expected NAME=WORKDIR of a run that predicted maps")
    with checks.prefixed("beside: "):
        activations = read_array(file, (None, None, None), mapped=True, advice=REDO_PREDICT)
    rows = read_images(table, records)
    if len(activations) <= rows.max():
        raise InputError(f"beside: {file} is {list(activations.shape)}; expected a map for each row of {table.name}")
    return rows, activations
