"""The stage `report`: what a run has, put together for its page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import maps
from wsol_jax.context import Context
from wsol_jax.data.photos import in_threads
from wsol_jax.data.records import Dataset, Record
from wsol_jax.evaluation import failures
from wsol_jax.evaluation.direct_boxes import measure
from wsol_jax.progress import track
from wsol_jax.pseudo.stage import heat_file
from wsol_jax.report import domains, map_views
from wsol_jax.report.cards import Photo, View
from wsol_jax.report.domains import Drawing
from wsol_jax.report.map_figures import Curve
from wsol_jax.report.map_views import MapRun
from wsol_jax.report.numbers import COLUMNS
from wsol_jax.report.page import Page, write_page
from wsol_jax.report.published import published_rows
from wsol_jax.results import CENTER_BOX, CENTER_GAUSSIAN, MAPS, OURS, PSEUDO, boxes_by_source
from wsol_jax.tables import Predictions
from wsol_jax.trained import FOLDERS, chosen_splits
from wsol_jax.training.train import read_log

FIXED = "fixed"  # whose boxes: those of maps, at a threshold that looked at no true box
JUDGED_FIRST = (OURS, MAPS, FIXED)  # whose IoUs the photos are sorted by


class Found(NamedTuple):
    """What there is to show of a split.

    Attributes:
        split: its name.
        records: its n photos.
        sources: whose boxes -> predictions.
        ious: whose boxes -> IoUs [n].
        own: the maps of this run, if it has some.
        beside: the maps of other runs.
    """

    split: str
    records: Sequence[Record]
    sources: Mapping[str, Predictions]
    ious: Mapping[str, np.ndarray]
    own: MapRun | None
    beside: Sequence[MapRun]

    @property
    def map_runs(self) -> list[MapRun]:
        """All maps, ours first."""
        return [*filter(None, [self.own]), *self.beside]


def report(config: ConfigDict, context: Context) -> None:
    """Writes report/index.html, for people."""
    workdir, dataset = context.workdir, context.dataset
    found, metrics = find(config, context), map_views.read_json(workdir / "metrics.json")
    views = {run.method: _look_at_all(run, dataset, found.records) for run in found.map_runs}
    if found.own and views[found.own.method]:
        own_iou = np.array([view.iou for view in views[found.own.method]], np.float64)
        found = found._replace(ious={**found.ious, MAPS: own_iou})
    page = Page(
        title=f"{found.own.method if found.own and OURS not in found.sources else 'PSOL'}: {workdir.resolve().name}",
        metrics=metrics,
        classes=dataset.classes,
        photos=(_photo(i, found, context) for i in _chosen(found, config.photos)),
        results={
            source: iou for source, iou in found.ious.items() if source != MAPS or found.own.threshold is not None
        },
        losses=_losses(workdir),
        config=(workdir / "config.json").read_text(),
        published=published_rows(config.published, [name for name in COLUMNS if name in metrics]),
        boxes_of=FIXED if FIXED in found.sources else OURS,
        maps_of=found.own.method if found.own else "",
        beside={run.method: run.metrics for run in found.beside},
        curves=_curves(found),
        failures=_failures(found, views),
        domains=_domains(found, context),
    )
    write_page(workdir / "report", page)
    logging.info("report: %s", workdir / "report" / "index.html")


def check_report(config: ConfigDict, context: Context) -> None:
    """Raises InputError if one of the runs of `beside` has no maps of these photos."""
    split = shown_split(context)
    map_views.beside(config, context.dataset.splits[split], split)


def shown_split(context: Context) -> str:
    """The split whose photos are shown: 'test', unless something was said of others and nothing of it."""
    said = [name for name in ("predict", "read_maps") if name in context.configs]
    splits = [split for name in said for split in chosen_splits(context.configs[name].splits, context)]
    splits = splits or list(context.dataset.splits)
    return "test" if "test" in splits else splits[0]


def find(config: ConfigDict, context: Context) -> Found:
    """Everything that draws a box or a map on the photos that are shown, and how well the boxes fit.

    Boxes cut out of maps are not called a localizer's, and two methods do not have one name.
    """
    split = shown_split(context)
    records, sources = context.dataset.splits[split], boxes_by_source(context.workdir, context.dataset, split)
    of_maps = maps.maps_file(context.workdir, split).exists()
    sources = {FIXED if of_maps and source == OURS else source: said for source, said in sources.items()}
    own, beside = map_views.own(context, split), map_views.beside(config, records, split)
    if own and own.method in [run.method for run in beside]:
        own = own._replace(method=f"{own.method} (this run)")
    ious = {source: measure(records, said).iou for source, said in sources.items()}
    return Found(split, records, sources, ious, own, beside)


def _look_at_all(run: MapRun, dataset: Dataset, records: Sequence[Record]) -> list[View]:
    """How every map is judged; the maps themselves are not kept."""

    def judged(i: int) -> View:
        return map_views.look(run, dataset, records[i], i)._replace(score_map=None, region=None, assignment=None)

    if run.threshold is None and run.pixel_threshold is None:
        return []
    return list(track(in_threads(judged, range(len(records))), len(records), f"report, {run.method}", unit="maps"))


def _failures(found: Found, views: Mapping[str, Sequence[View]]) -> dict[str, Counter[str]]:
    """Whose boxes -> kind of failure -> photos, where it can be said of any."""
    kinds = {method: [view.kind for view in seen] for method, seen in views.items()}
    for source, said in found.sources.items():
        if source != CENTER_BOX and said.box is not None:
            kinds[source] = [_kind(record, said, i) for i, record in enumerate(found.records)]
    return {whose: Counter(filter(None, named)) for whose, named in kinds.items() if any(named)}


def _kind(record: Record, said: Predictions, i: int) -> str | None:
    right_class = None if said.top5_class is None else bool(said.top5_class[i, 0] == record.label)
    return failures.kind_of_box(said.box[i], record.boxes, right_class)


def _curves(found: Found) -> dict[str, dict[str, Curve]]:
    """Every method's curves of the split, and the centre Gaussian's."""
    prefix = "" if found.split == "test" else f"{found.split}/"
    curves = {run.method: _below(run.curves, prefix) for run in found.map_runs}
    for run in found.map_runs[:1]:
        curves[CENTER_GAUSSIAN] = _below(run.curves, f"{CENTER_GAUSSIAN}/{prefix}")
    return curves


def _below(curves: Mapping[str, Curve], prefix: str) -> dict[str, Curve]:
    of_prefix = {name.removeprefix(prefix): curve for name, curve in curves.items() if name.startswith(prefix)}
    return {name: curve for name, curve in of_prefix.items() if "/" not in name}


def _losses(workdir: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Stage -> steps and losses, of the stages that trained."""
    logs = {stage: read_log(workdir / folder) for stage, folder in FOLDERS.items()}
    return {
        stage: (np.array([line["step"] for line in log]), np.array([line["loss"] for line in log]))
        for stage, log in logs.items()
        if log
    }


def _domains(found: Found, context: Context) -> list[Drawing]:
    """What is drawn of domain adaption: of the training of the maps, here and beside."""
    log = read_log(context.workdir / FOLDERS["train"])
    watched = {run.method: run.watched for run in found.map_runs}
    return domains.drawings(watched, log, context.configs.get("train"))


def _chosen(found: Found, count: int) -> list[int]:
    """`count` photos, spread evenly over the IoUs of what is judged first, or over the records where there are none."""
    nothing = np.full(len(found.records), np.nan)
    order = np.argsort(next((found.ious[of] for of in JUDGED_FIRST if of in found.ious), nothing), kind="stable")
    return order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)].tolist()


def _photo(i: int, found: Found, context: Context) -> Photo:
    """Photo number `i` with all that is known of it."""
    dataset, record = context.dataset, found.records[i]
    ours, pseudo = found.sources.get(OURS, Predictions()), found.sources.get(PSEUDO, Predictions())
    views = [map_views.look(run, dataset, record, i) for run in found.map_runs]
    iou, kind = (views[0].iou, views[0].kind) if views else (None, None)
    if ours.box is not None:
        iou, kind = float(found.ious[OURS][i]), _kind(record, ours, i)
    heat = heat_file(context.workdir / "pseudo_boxes", found.split)
    return Photo(
        name=record.path,
        label=record.label,
        image=dataset.read(record),
        truth=record.boxes,
        pseudo=None if pseudo.box is None else pseudo.box[i],
        predicted=None if ours.box is None else ours.box[i],
        iou=iou,
        kind=kind,
        top5=_top5(found.sources.get(FIXED, ours), i),
        heat=np.load(heat, mmap_mode="r")[i].astype(np.float32) if heat.exists() else None,
        mask=dataset.read_mask(record, maps.BOX_SIDE) if record.masks and views else None,
        views=views,
    )


def _top5(said: Predictions, i: int) -> list[tuple[int, float]]:
    if said.top5_class is None:
        return []
    return list(zip(said.top5_class[i].tolist(), said.top5_prob[i].tolist(), strict=True))
