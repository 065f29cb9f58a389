"""The stage `report`: the results of a run, gathered for its page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.data.records import Dataset, Record
from wsol_jax.evaluation import failures
from wsol_jax.evaluation.direct_boxes import measure
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.progress import track
from wsol_jax.pseudo.regions import BOX_SIDE
from wsol_jax.report import domains
from wsol_jax.report.cards import Photo, View
from wsol_jax.report.domains import CaptionedFigure
from wsol_jax.report.map_figures import Curve
from wsol_jax.report.map_views import MapRun, view_of
from wsol_jax.report.numbers import COLUMNS
from wsol_jax.report.page import Page, write_page
from wsol_jax.report.published import published_rows
from wsol_jax.stages.box_sources import CENTER_BOX, OURS, PSEUDO, boxes_by_source
from wsol_jax.stages.context import Context, chosen_splits
from wsol_jax.stages.evaluate import CENTER_GAUSSIAN, MAPS
from wsol_jax.stages.map_runs import compared_runs, files, own_run, read_json
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.workdir import (
    NETWORK_FOLDERS,
    activations_file,
    config_file,
    heat_file,
    metrics_file,
    network_folder,
    predictions_file,
    report_folder,
)
from wsol_jax.threads import in_threads
from wsol_jax.training.log import read_log

FIXED = "fixed"  # the boxes of maps at a threshold that was chosen without true boxes
SORTED_BY = (OURS, MAPS, FIXED)  # the first that has IoUs sorts the photos


class Results(NamedTuple):
    """The results of a split that the page shows.

    Attributes:
        split: its name.
        records: its n photos.
        sources: whose boxes -> predictions.
        ious: whose boxes -> IoUs [n].
        own: the maps of this run, if it has some.
        compared: the maps of other runs.
    """

    split: str
    records: Sequence[Record]
    sources: Mapping[str, Predictions]
    ious: Mapping[str, np.ndarray]
    own: MapRun | None
    compared: Sequence[MapRun]

    @property
    def map_runs(self) -> list[MapRun]:
        """All maps, ours first."""
        return [*filter(None, [self.own]), *self.compared]


def defaults() -> ConfigDict:
    """Return the keys of `report` with their defaults."""
    return ConfigDict(
        dict(
            photos=200,  # in the gallery, spread evenly over the IoUs
            beside="",  # NAME=WORKDIR,...: runs of other methods on these photos, whose maps are shown with ours
            published="",  # the published numbers to print: 'cub' | 'ilsvrc' | 'openimages'; '' none
        )
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    del devices
    checks.one_of(config, "published", ("", "cub", "ilsvrc", "openimages"))
    checks.not_negative(config, "photos")


def run(config: ConfigDict, context: Context) -> None:
    """Write report/index.html."""
    workdir, dataset = context.workdir, context.dataset
    results, metrics = gather(config, context), read_json(metrics_file(workdir))
    views = {run.method: _views(run, dataset, results.records) for run in results.map_runs}
    if results.own and views[results.own.method]:
        own_iou = np.array([view.iou for view in views[results.own.method]], np.float64)
        results = results._replace(ious={**results.ious, MAPS: own_iou})
    method = results.own.method if results.own and OURS not in results.sources else "PSOL"
    page = Page(
        title=f"{method}: {workdir.resolve().name}",
        metrics=metrics,
        classes=dataset.classes,
        photos=(_photo(i, results, context) for i in _chosen(results, config.photos)),
        results={
            source: iou for source, iou in results.ious.items() if source != MAPS or results.own.threshold is not None
        },
        losses=_losses(workdir),
        config=config_file(workdir).read_text(),
        published=published_rows(config.published, [name for name in COLUMNS if name in metrics]),
        boxes_of=FIXED if FIXED in results.sources else OURS,
        maps_of=results.own.method if results.own else "",
        compared={run.method: run.metrics for run in results.compared},
        curves=_curves(results),
        failures=_failures(results, views),
        domains=_domains(results, context),
    )
    write_page(report_folder(workdir), page)
    logging.info("report: %s", report_folder(workdir) / "index.html")


def check(config: ConfigDict, context: Context) -> None:
    """Raise InputError if one of the runs of `beside` has no maps of these photos."""
    split = shown_split(context)
    compared_runs(config, context.dataset.splits[split], split)


def shown_split(context: Context) -> str:
    """Return the split whose photos are shown: 'test', unless there are predictions of others and none of it."""
    stages = [name for name in ("predict", "read_maps") if name in context.configs]
    splits = [split for name in stages for split in chosen_splits(context.configs[name].splits, context)]
    splits = splits or list(context.dataset.splits)
    return "test" if "test" in splits else splits[0]


def gather(config: ConfigDict, context: Context) -> Results:
    """Return every source of boxes and maps on the shown photos, and the IoUs of the boxes.

    Boxes cut out of maps are named `FIXED`, not after the localizer, and two methods never have one name.
    """
    split = shown_split(context)
    records, sources = context.dataset.splits[split], boxes_by_source(context.workdir, context.dataset, split)
    of_maps = activations_file(predictions_file(context.workdir, split)).exists()
    sources = {FIXED if of_maps and source == OURS else source: boxes for source, boxes in sources.items()}
    own, compared = own_run(context, split), compared_runs(config, records, split)
    if own and own.method in [run.method for run in compared]:
        own = own._replace(method=f"{own.method} (this run)")
    ious = {source: measure(records, boxes).iou for source, boxes in sources.items()}
    return Results(split, records, sources, ious, own, compared)


def _views(run: MapRun, dataset: Dataset, records: Sequence[Record]) -> list[View]:
    """The evaluation of every map; the maps themselves are not kept."""

    def evaluated(i: int) -> View:
        return view_of(run, dataset, records[i], i)._replace(score_map=None, region=None, assignment=None)

    if run.threshold is None and run.pixel_threshold is None:
        return []
    return list(track(in_threads(evaluated, range(len(records))), len(records), f"report, {run.method}", unit="maps"))


def _failures(results: Results, views: Mapping[str, Sequence[View]]) -> dict[str, Counter[str]]:
    """Whose boxes -> kind of failure -> photos, for those with a truth."""
    kinds = {method: [view.kind for view in of_run] for method, of_run in views.items()}
    for source, predictions in results.sources.items():
        if source != CENTER_BOX and predictions.box is not None:
            kinds[source] = [_kind(record, predictions, i) for i, record in enumerate(results.records)]
    return {whose: Counter(filter(None, named)) for whose, named in kinds.items() if any(named)}


def _kind(record: Record, predictions: Predictions, i: int) -> str | None:
    right_class = None if predictions.top5_class is None else bool(predictions.top5_class[i, 0] == record.label)
    return failures.kind_of_box(predictions.box[i], record.boxes, right_class)


def _curves(results: Results) -> dict[str, dict[str, Curve]]:
    """Every method's curves of the split, and the centre Gaussian's."""
    prefix = "" if results.split == "test" else f"{results.split}/"
    curves = {run.method: _below(run.curves, prefix) for run in results.map_runs}
    for run in results.map_runs[:1]:
        curves[CENTER_GAUSSIAN] = _below(run.curves, f"{CENTER_GAUSSIAN}/{prefix}")
    return curves


def _below(curves: Mapping[str, Curve], prefix: str) -> dict[str, Curve]:
    of_prefix = {name.removeprefix(prefix): curve for name, curve in curves.items() if name.startswith(prefix)}
    return {name: curve for name, curve in of_prefix.items() if "/" not in name}


def _losses(workdir: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Stage -> steps and losses, of the stages that trained."""
    logs = {stage: read_log(network_folder(workdir, stage)) for stage in NETWORK_FOLDERS}
    return {
        stage: (np.array([line["step"] for line in log]), np.array([line["loss"] for line in log]))
        for stage, log in logs.items()
        if log
    }


def _domains(results: Results, context: Context) -> list[CaptionedFigure]:
    """The figures of domain adaptation, of this run's training and of the compared ones."""
    log = read_log(network_folder(context.workdir, "train"))
    watched = {run.method: run.watched for run in results.map_runs}
    return domains.captioned_figures(watched, log, context.configs.get("train"))


def _chosen(results: Results, count: int) -> list[int]:
    """`count` photos, spread evenly over the IoUs of the first source that has some, or over the records."""
    nothing = np.full(len(results.records), np.nan)
    order = np.argsort(next((results.ious[of] for of in SORTED_BY if of in results.ious), nothing), kind="stable")
    return order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)].tolist()


def _photo(i: int, results: Results, context: Context) -> Photo:
    """Photo number `i` with its boxes, classes and maps."""
    dataset, record = context.dataset, results.records[i]
    ours, pseudo = results.sources.get(OURS, Predictions()), results.sources.get(PSEUDO, Predictions())
    views = [view_of(run, dataset, record, i) for run in results.map_runs]
    iou, kind = (views[0].iou, views[0].kind) if views else (None, None)
    if ours.box is not None:
        iou, kind = float(results.ious[OURS][i]), _kind(record, ours, i)
    heat = heat_file(context.workdir, results.split)
    return Photo(
        name=record.path,
        label=record.label,
        image=dataset.read(record),
        truth=record.boxes,
        pseudo=None if pseudo.box is None else pseudo.box[i],
        predicted=None if ours.box is None else ours.box[i],
        iou=iou,
        kind=kind,
        top5=_top5(results.sources.get(FIXED, ours), i),
        heat=np.load(heat, mmap_mode="r")[i].astype(np.float32) if heat.exists() else None,
        mask=dataset.read_mask(record, BOX_SIDE) if record.masks and views else None,
        views=views,
    )


def _top5(predictions: Predictions, i: int) -> list[tuple[int, float]]:
    if predictions.top5_class is None:
        return []
    return list(zip(predictions.top5_class[i].tolist(), predictions.top5_prob[i].tolist(), strict=True))


STAGE = Stage(
    key="report",
    defaults=defaults,
    check_keys=check_keys,
    inputs=("pseudo_boxes", "localizer", "classifier", "joint", "train", "predict", "read_maps", "evaluate"),
    outputs=("report",),
    run=run,
    check=check,
    files=files,
    is_view=True,
)
