"""The stage `report`: the results of a run, gathered for its page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.data.records import Dataset, Record
from wsol_jax.evaluation import failures
from wsol_jax.evaluation.direct_boxes import flat_truth
from wsol_jax.progress import track
from wsol_jax.report import domains
from wsol_jax.report.cards import View
from wsol_jax.report.domains import CaptionedFigure
from wsol_jax.report.map_figures import Curve
from wsol_jax.report.map_views import MapRun, view_of
from wsol_jax.report.numbers import COLUMNS
from wsol_jax.report.page import Page, write_page
from wsol_jax.report.published import published_rows
from wsol_jax.stages.box_sources import CENTER_BOX, OURS
from wsol_jax.stages.context import Context
from wsol_jax.stages.evaluate import CENTER_GAUSSIAN, MAPS
from wsol_jax.stages.map_runs import compared_runs, files, read_metrics
from wsol_jax.stages.report_photos import FIXED, Results, gather, shown_photos, shown_split
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.workdir import NETWORK_FOLDERS, config_file, network_folder, report_folder
from wsol_jax.threads import in_threads
from wsol_jax.training.log import read_log


def defaults() -> ConfigDict:
    """Return the keys of `report` with their defaults."""
    return ConfigDict(
        dict(
            photos=-1,  # shown, spread evenly over the IoUs, or the least confident; -1: 200, or 10000 without a truth
            beside="",  # NAME=WORKDIR,...: runs of other methods on these photos, whose maps are shown with ours
            published="",  # the published numbers to print: 'cub' | 'ilsvrc' | 'openimages'; '' none
        )
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    del devices
    checks.one_of(config, "published", ("", "cub", "ilsvrc", "openimages"))
    checks.require(config, "photos", config.photos >= -1, "-1 or a number of photos")


def run(config: ConfigDict, context: Context) -> None:
    """Write report/index.html, and its figures and tables as files."""
    workdir, dataset = context.workdir, context.dataset
    results, metrics = gather(shown_split(context), config, context), read_metrics(workdir)
    views = {run.method: _views(run, dataset, results.records) for run in results.map_runs}
    if results.own and views[results.own.method]:
        own_iou = np.array([view.iou for view in views[results.own.method]], np.float64)
        results = results._replace(ious={**results.ious, MAPS: own_iou})
    method = results.own.method if results.own and OURS not in results.sources else "PSOL"
    page = Page(
        title=f"{method}: {workdir.resolve().name}",
        metrics=metrics,
        classes=dataset.classes,
        photos=shown_photos(results, config, context),
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


def _views(run: MapRun, dataset: Dataset, records: Sequence[Record]) -> list[View]:
    """The evaluation of every map; the maps themselves are not kept."""

    def evaluated(i: int) -> View:
        return view_of(run, dataset, records[i], i)._replace(score_map=None, region=None, assignment=None)

    if run.threshold is None and run.pixel_threshold is None:
        return []
    return list(track(in_threads(evaluated, range(len(records))), len(records), f"report, {run.method}", unit="maps"))


def _failures(results: Results, views: Mapping[str, Sequence[View]]) -> dict[str, Counter[str]]:
    """Whose boxes -> kind of failure -> photos, for those with a truth."""
    kinds = {method: Counter(filter(None, (view.kind for view in of_run))) for method, of_run in views.items()}
    truth, owner = flat_truth(results.records)
    label = np.array([record.label for record in results.records])
    for source, predictions in results.sources.items():
        if source != CENTER_BOX and predictions.box is not None:
            top5, is_right = predictions.top5_class, None
            if top5 is not None:
                is_right = (label < 0) | (top5[:, 0] == label)  # a photo without a class cannot have a wrong one
            kinds[source] = failures.kinds_of_boxes(predictions.box, truth, owner, is_right)
    return {whose: counts for whose, counts in kinds.items() if counts}


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


STAGE = Stage(
    key="report",
    defaults=defaults,
    check_keys=check_keys,
    inputs=("pseudo_boxes", "localizer", "classifier", "joint", "train", "predict", "read_maps", "objects", "evaluate"),
    outputs=("report",),
    run=run,
    check=check,
    files=files,
    is_view=True,
)
