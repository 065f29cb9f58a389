"""The results of a split that the page shows, and its photos with their boxes, classes and maps."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax.arrays import read_array
from wsol_jax.data.records import Dataset, Record
from wsol_jax.evaluation import failures
from wsol_jax.evaluation.direct_boxes import measure
from wsol_jax.predictions.objects import read_objects
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.progress import track
from wsol_jax.pseudo.regions import BOX_SIDE
from wsol_jax.report.cards import PHOTO, Photo, thumbnail
from wsol_jax.report.map_views import MapRun, is_right_class, view_of
from wsol_jax.stages.box_sources import OURS, PSEUDO, boxes_by_source
from wsol_jax.stages.context import Context, chosen_splits
from wsol_jax.stages.evaluate import MAPS
from wsol_jax.stages.map_runs import compared_runs, own_run
from wsol_jax.stages.workdir import activations_file, heat_file, objects_file, predictions_file
from wsol_jax.threads import in_threads

FIXED = "fixed"  # the boxes of maps at a threshold that was chosen without true boxes
SORTED_BY = (OURS, MAPS, FIXED)  # the first that has IoUs, or else confidences, sorts the photos
EVALUATED = 200  # photos with a truth that are shown by default
DOUBTFUL = 10_000  # photos without one
AT_ONCE = 64  # photos that are read before they are needed


class Results(NamedTuple):
    """The results of a split.

    Attributes:
        split: its name.
        records: its n photos.
        sources: whose boxes -> predictions.
        ious: whose boxes -> IoUs [n].
        own: the maps of this run, if it has some.
        compared: the maps of other runs.
        objects: the boxes [k, 4] of all objects of each photo; () without the stage `objects`.
    """

    split: str
    records: Sequence[Record]
    sources: Mapping[str, Predictions]
    ious: Mapping[str, np.ndarray]
    own: MapRun | None
    compared: Sequence[MapRun]
    objects: Sequence[np.ndarray] = ()

    @property
    def map_runs(self) -> list[MapRun]:
        """All maps, ours first."""
        return [*filter(None, [self.own]), *self.compared]

    @property
    def has_truth(self) -> bool:
        """Whether any photo has a true box or mask."""
        return any(len(record.boxes) or record.masks for record in self.records)


def shown_split(context: Context) -> str:
    """Return the split that is evaluated: 'test', unless there are predictions of others and none of it."""
    stages = [name for name in ("predict", "read_maps") if name in context.configs]
    splits = [split for name in stages for split in chosen_splits(context.configs[name].splits, context)]
    splits = splits or list(context.dataset.splits)
    return "test" if "test" in splits else splits[0]


def gather(split: str, config: ConfigDict, context: Context) -> Results:
    """Return every source of boxes and maps on the photos of a split, and the IoUs of the boxes.

    Boxes cut out of maps are named `FIXED`, not after the localizer, and two methods never have one name. The runs to
    compare with are those of the shown split.
    """
    records, sources = context.dataset.splits[split], boxes_by_source(context.workdir, context.dataset, split)
    of_maps = activations_file(predictions_file(context.workdir, split)).exists()
    sources = {FIXED if of_maps and source == OURS else source: boxes for source, boxes in sources.items()}
    own = own_run(context, split)
    compared = compared_runs(config, records, split) if split == shown_split(context) else []
    if own and own.method in [run.method for run in compared]:
        own = own._replace(method=f"{own.method} (this run)")
    ious = {source: measure(records, boxes).iou for source, boxes in sources.items()}
    return Results(split, records, sources, ious, own, compared, _objects(split, context))


def shown_photos(shown: Results, config: ConfigDict, context: Context) -> Iterator[Photo]:
    """Return the photos of the gallery, each read when it is needed.

    With a truth they are of the shown split, spread evenly over the IoUs. Without one they are of all splits, those
    with the lowest confidence first.

    Args:
        shown: the results of the shown split.
        config: the keys of `report`; `photos` is the number of photos.
        context: of the stage.
    """
    if shown.has_truth:
        order = np.argsort(_first(shown, shown.ious), kind="stable")
        count = min(EVALUATED if config.photos < 0 else config.photos, len(order))
        chosen = [(shown, i) for i in order[np.linspace(0, len(order) - 1, count).astype(int)].tolist()]
    else:
        others = [gather(split, config, context) for split in context.dataset.splits if split != shown.split]
        every = (shown, *others)
        scores = np.concatenate([_first(results, _scores(results)) for results in every])
        count = min(DOUBTFUL if config.photos < 0 else config.photos, len(scores))
        if config.photos < 0 and count < len(scores):
            logging.info(
                "report: %d of %d photos, those with the lowest confidence; report.photos shows more",
                count,
                len(scores),
            )
        order, ends = np.argsort(scores, kind="stable")[:count], np.cumsum([len(each.records) for each in every])
        owner = np.searchsorted(ends, order, side="right")
        starts = order - (ends[owner] - [len(every[j].records) for j in owner])
        chosen = [(every[j], i) for j, i in zip(owner.tolist(), starts.tolist(), strict=True)]
    by_split = {results.split: results for results, _ in chosen}
    heat = {split: _heat_maps(results, context) for split, results in by_split.items()}  # read once: they may be remote
    photos = in_threads(partial(_photo, heat=heat, dataset=context.dataset), chosen, AT_ONCE)
    return iter(track(photos, len(chosen), "report", unit="photos"))


def box_kind(record: Record, predictions: Predictions, i: int) -> str | None:
    """Return the kind of failure of box number `i`, of a record's photo; None where it has no true box."""
    return failures.kind_of_box(predictions.box[i], record.boxes, is_right_class(record, predictions, i))


def _objects(split: str, context: Context) -> list[np.ndarray]:
    """The boxes of all objects of each photo: those of score maps, or else of heat maps."""
    records = context.dataset.splits[split]
    tables = [objects_file(context.workdir, source, split) for source in (MAPS, PSEUDO)]
    table = next((table for table in tables if "objects" in context.configs and table.exists()), None)
    if table is None:
        return []
    objects = read_objects(table, records)
    return np.split(objects.box, np.searchsorted(objects.photo, np.arange(1, len(records))))


def _first(results: Results, named: Mapping[str, np.ndarray]) -> np.ndarray:
    """The numbers [n] that the photos are sorted by, NaN where there are none."""
    return next(
        (named[source] for source in (*SORTED_BY, PSEUDO) if source in named), np.full(len(results.records), np.nan)
    )


def _scores(results: Results) -> dict[str, np.ndarray]:
    return {source: boxes.score for source, boxes in results.sources.items() if boxes.score is not None}


def _photo(place: tuple[Results, int], heat: Mapping[str, np.ndarray | None], dataset: Dataset) -> Photo:
    """A photo with its boxes, classes and maps; `heat` are the heat maps of each split."""
    results, i = place
    record, of_split = results.records[i], heat[results.split]
    ours, pseudo = results.sources.get(OURS, Predictions()), results.sources.get(PSEUDO, Predictions())
    views = [view_of(run, dataset, record, i) for run in results.map_runs]
    iou, kind = (views[0].iou, views[0].kind) if views else (None, None)
    if ours.box is not None:
        iou, kind = float(results.ious[OURS][i]), box_kind(record, ours, i)
    source = next((results.sources[name] for name in (OURS, FIXED, PSEUDO) if name in results.sources), Predictions())
    return Photo(
        name=record.path,
        label=record.label,
        image=thumbnail(dataset.read(record), PHOTO),
        truth=record.boxes,
        pseudo=None if pseudo.box is None else pseudo.box[i],
        predicted=None if ours.box is None else ours.box[i],
        iou=iou,
        kind=kind,
        top5=_top5(results.sources.get(FIXED, ours), i),
        heat=None if of_split is None else of_split[i].astype(np.float32),
        mask=dataset.read_mask(record, BOX_SIDE) if record.masks and views else None,
        views=views,
        split=results.split,
        score=None if source.score is None else float(source.score[i]),
        objects=results.objects[i] if results.objects else (),
        fallback=False if source.fallback is None else bool(source.fallback[i]),
    )


def _heat_maps(results: Results, context: Context) -> np.ndarray | None:
    """The heat maps behind the pseudo boxes, left in a local file; None where the boxes come from elsewhere."""
    file = heat_file(context.workdir, results.split)
    if not file.exists():
        return None
    again = f"delete the folder {file.parent}, and the same command computes it again"
    return read_array(file, (len(results.records), None, None), mapped=True, advice=again)


def _top5(predictions: Predictions, i: int) -> list[tuple[int, float]]:
    if predictions.top5_class is None:
        return []
    return list(zip(predictions.top5_class[i].tolist(), predictions.top5_prob[i].tolist(), strict=True))
