"""The maps that the report shows: ours and other runs', each with the box of the threshold that suits it best."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from ml_collections import ConfigDict

from wsol_jax import boxes, combine, maps
from wsol_jax.context import Context
from wsol_jax.data.records import Dataset, Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation import failures, score_maps
from wsol_jax.report.cards import OBJECT, View
from wsol_jax.report.domain_figures import Lines
from wsol_jax.report.domains import Assignments, read_assignments, read_watched
from wsol_jax.report.figures import NAMES
from wsol_jax.tables import Predictions, read_images, read_predictions
from wsol_jax.trained import FOLDERS
from wsol_jax.training.train import WATCH

METHODS = {
    "cam": "CAM",
    "grad_cam": "Grad-CAM",
    "has": "HaS",
    "acol": "ACoL",
    "spg": "SPG",
    "adl": "ADL",
    "cutmix": "CutMix",
}
DAWSOL = "DA-WSOL"  # with CAM, or on top of another of them, which is named too


class MapRun(NamedTuple):
    """The maps of the photos of a split, and what was said with them and measured of them.

    Attributes:
        method: its name.
        source: the maps, in the order of the records.
        said: box (at the fixed threshold) and classes, in the same order.
        metrics: the names and numbers of its metrics.json.
        curves: those of its curves.json: metric -> x and y.
        threshold: at which the box around the largest part is right most often; None if nobody measured it.
        pixel_threshold: at which the pixels above it have the best IoU with the masks; likewise.
        watched: what was seen of its domains by epoch; nothing if nobody looked.
        assignments: DA-WSOL's sets of the pixels, in the order of the records; None without DA-WSOL.
    """

    method: str
    source: maps.MapSource
    said: Predictions
    metrics: Mapping[str, float]
    curves: Mapping[str, Any]
    threshold: float | None
    pixel_threshold: float | None
    watched: Lines = ()
    assignments: Assignments | None = None


def own(context: Context, split: str) -> MapRun | None:
    """The maps of this run, or those of others that it reads; None if there are none of this split."""
    size = context.configs["evaluate"].map_size if "evaluate" in context.configs else maps.BOX_SIDE
    source = maps.sources(context, size).get(split)
    if source is None:
        return None
    table, said = context.workdir / "predictions" / f"{split}.parquet", Predictions()
    records = context.dataset.splits[split]
    if table.exists():
        said = read_predictions(table, records)
    if not maps.maps_file(context.workdir, split).exists():
        said = said._replace(box=None)  # it is a localizer's, not the maps'
    return _measured(_own_name(context), source, said, table, split, np.arange(len(records)))


def beside(config: ConfigDict, records: Sequence[Record], split: str) -> list[MapRun]:
    """The runs of `config.beside`, on the same photos.

    Raises:
        InputError: one has no maps of these photos, or a name comes twice or means something else on the page.
    """
    runs = []
    for source in combine.sources(config.beside, split):
        if source.name in NAMES:
            raise InputError(f"beside: {source.name!r} is a name that the page has already; expected another one")
        rows, activations = _read_maps(source, records)
        table, of_record = source.files[0], partial(_of_row, activations, rows)
        runs.append(_measured(source.name, of_record, read_predictions(table, records), table, split, rows))
    return runs


def files(config: ConfigDict) -> list[Path]:
    """What `beside` reads of other runs, whichever split is shown."""
    folders = [file.parent for source in combine.sources(config.beside, "") for file in source.files]
    others = ("metrics.json", f"{FOLDERS['train']}/{WATCH}")
    return [path for folder in folders for path in (folder, *(folder.parent / name for name in others))]


def look(run: MapRun, dataset: Dataset, record: Record, i: int) -> View:
    """The map of record number `i`, and its box judged by the true boxes; where there are none, its region by masks."""
    score_map, truth, label = run.source(i), record.boxes, record.label
    right_class = None if run.said.top5_class is None else bool(run.said.top5_class[i, 0] == label)
    fixed = None if run.said.box is None else run.said.box[i]
    view = View(run.method, score_map, fixed=fixed, assignment=run.assignments and run.assignments(i))
    if len(truth) and run.threshold is not None:
        box = box_at(score_map, run.threshold)
        kind = failures.kind_of_box(box, truth, right_class)
        return view._replace(box=box, iou=float(boxes.iou(truth, box).max()), kind=kind)
    if not len(truth) and record.masks and run.pixel_threshold is not None:
        mask = dataset.read_mask(record, len(score_map))
        region, known = score_map >= run.pixel_threshold, mask <= OBJECT
        shared, either = region & (mask == OBJECT), (region & known) | (mask == OBJECT)
        kind = failures.kind_of_region(region & known, mask == OBJECT, right_class)
        return view._replace(region=region, iou=np.count_nonzero(shared) / max(np.count_nonzero(either), 1), kind=kind)
    return view


def box_at(score_map: np.ndarray, threshold: float) -> np.ndarray:
    """The box of MaxBoxAcc: around the largest contour above a threshold, by OpenCV as published, without its "+1".

    Args:
        score_map: float64 [h, w] in [0, 1].
        threshold: in [0, 1).

    Returns:
        float64 [4], normalised xyxy; zeros for a map of zeros.
    """
    image = score_maps.quantise(score_map)
    above = (image > int(threshold * image.max())).astype(np.uint8)
    contours, _ = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros(4)
    x, y, w, h = cv2.boundingRect(max(contours, key=cv2.contourArea))
    return np.array([x, y, x + w, y + h]) / np.tile(image.shape[::-1], 2)


def trained_name(config: ConfigDict) -> str:
    """What the method of a configuration of `train` is called."""
    method = METHODS.get(config.method, config.method)
    if not config.dawsol.use:
        return method
    return DAWSOL if config.method == "cam" else f"{DAWSOL} ({method})"


def _own_name(context: Context) -> str:
    if "read_maps" in context.configs:
        return "Score maps"
    return trained_name(context.configs["train"]) if "train" in context.configs else METHODS["grad_cam"]


def _of_row(activations: np.ndarray, rows: np.ndarray, i: int) -> np.ndarray:
    return score_maps.score_map(activations[rows[i]], (maps.BOX_SIDE, maps.BOX_SIDE))


def _measured(
    method: str, source: maps.MapSource, said: Predictions, table: Path, split: str, rows: np.ndarray
) -> MapRun:
    """What a run has beside its maps; `table` is that of its predictions, `rows` where the records are in it."""
    workdir, assignments = table.parents[1], read_assignments(table.with_suffix(".assignments.npy"), rows)
    metrics, curves = (read_json(workdir / name) for name in ("metrics.json", "curves.json"))
    prefix = "" if split == "test" else f"{split}/"
    thresholds = (metrics.get(f"{prefix}{name}/threshold") for name in ("max_box_acc", "piou"))
    return MapRun(method, source, said, metrics, curves, *thresholds, read_watched(workdir), assignments)


def _read_maps(source: combine.Source, records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """The row of each record, int64 [n], and the maps of all rows, [m, h, w]."""
    table = source.files[0]
    file = table.with_suffix(".maps.npy")
    if len(source.files) > 1 or not file.is_file():
        raise InputError(f"beside: {source.name} has no {file}; expected NAME=WORKDIR of a run that predicted maps")
    try:
        activations = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"beside: {file}: not a readable .npy file; expected the maps of {source.name}") from error
    rows = read_images(table, records)
    if activations.ndim != 3 or len(activations) <= rows.max():
        raise InputError(f"beside: {file} is {list(activations.shape)}; expected a map for each row of {table.name}")
    return rows, activations


def read_json(file: Path) -> dict[str, Any]:
    """What a file of numbers holds; nothing if it is not there.

    Raises:
        InputError: it is damaged.
    """
    try:
        return json.loads(file.read_text()) if file.exists() else {}
    except ValueError as error:
        raise InputError(f"{file}: not readable JSON; redo the stage evaluate of its run") from error
